_base_ = './afa_mit-b1_voc.py'

# Ablation: a wider band of ignored pixels.
model = dict(pseudo_labeler=dict(bkg_scores=(0.25, 0.65)))
