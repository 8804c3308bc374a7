_base_ = './toco_deit-b_voc.py'

# Ablation: views 1 and 3 show the crop as it is, so that the box and the places of local crops fit.
train_pipeline = _base_.three_view_pipeline
train_pipeline[5].transforms = train_pipeline[5].transforms[1:]
train_pipeline = train_pipeline[:6] + train_pipeline[7:]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
