"""Public data sets, and any folder, as readers without torch: one file each, uint8 (H, W, C) arrays out.

A reader lists files when it is made and decodes a picture when it is asked for one. Order never depends on the file
system. Every reader says what is `missing` of its layout and what was `skipped` as no picture; with `strict` either
is an error instead.
"""
