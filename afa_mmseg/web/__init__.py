"""Web page that shows the steps of a trained segmentor on uploaded images, and the affinity of a clicked pixel."""
