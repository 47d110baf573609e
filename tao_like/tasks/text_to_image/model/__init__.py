"""The networks of text_to_image: plain modules, which know no spec."""
