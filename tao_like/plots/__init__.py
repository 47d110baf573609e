"""What people look at: charts, grids of pictures, cards, and the colors of classes. No torch."""
