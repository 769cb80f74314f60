"""Figures as SVG, drawn by matplotlib, in colours that stand on light and dark paper."""
