"""Where nodes stand, how far away that is, and how long it takes to get there and back."""
