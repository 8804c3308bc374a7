_base_ = './afa_mit-b1_voc.py'

# Ablation: global average instead of maximum in front of the classifier.
model = dict(decode_head=dict(pool='avg'))
