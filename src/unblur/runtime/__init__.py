"""Running networks: one seam, several backends."""
