"""Figures: drawn from histories and numbers, as SVG and PDF with a caption."""
