"""The workshop: recipes, batches, and the loop that turns real data into trained weights. Needs torch."""
