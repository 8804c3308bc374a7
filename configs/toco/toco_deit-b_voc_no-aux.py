_base_ = './toco_deit-b_voc.py'

# Ablation: no auxiliary classifier, contrast learns from the CAMs of the last layer.
model = dict(decode_head=dict(loss_aux=None))
val_evaluator = [metric for metric in _base_.val_evaluator if metric.get('field') != 'pred_aux_cam']
