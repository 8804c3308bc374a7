_base_ = './afa_efficientnet-lite2_voc-animals.py'

# Ablation: global average instead of maximum in front of the classifier.
model = dict(decode_head=dict(pool='avg'))
