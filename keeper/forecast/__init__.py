"""How likely each row of a book is to cross its boundary, from its feeds' own price histories."""
