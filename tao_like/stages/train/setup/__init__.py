"""What a training needs before its first step: devices, data, optimizer, weights to begin with."""
