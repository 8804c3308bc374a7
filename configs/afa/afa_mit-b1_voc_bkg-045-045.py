_base_ = './afa_mit-b1_voc.py'

# Ablation: one background score, no ignored pixels.
model = dict(pseudo_labeler=dict(bkg_scores=(0.45, 0.45)))
