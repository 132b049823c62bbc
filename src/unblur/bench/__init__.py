"""The judge: every method under the same named protocols, through the code path of users."""
