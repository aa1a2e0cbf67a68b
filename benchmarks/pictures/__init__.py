"""The pictures of the documentation: measurements and the scripts that draw them."""
