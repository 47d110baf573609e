"""What people look at: charts, grids of images, cards, and the colors of classes. No torch."""
