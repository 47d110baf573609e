"""Make pictures from sentences: DALL-E (codes, one after another) and GLIDE (out of noise), trained on your own pairs."""
