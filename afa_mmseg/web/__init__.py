"""A page that shows the steps of a trained segmentor on one's own pictures, and what a pixel is tied to."""
