"""Make images of sentences: DALL-E (code by code) and GLIDE (out of noise), trained on your own pairs."""
