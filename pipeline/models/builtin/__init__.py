"""Models that come with spinetally: `builtin/ct-levels` and `builtin/ct-lesions`, each a folder with its card."""
