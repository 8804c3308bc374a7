"""Distillation of a classifier into a backbone of ours, from unlabelled images."""

from .components import Components, principal_components
from .crops import Crops, list_images
from .neighbours import knn_accuracy, pooled_features
from .recipe import Recipe
from .student import build_backbone
from .tags import read_tags
from .teacher import Teacher, build_teacher
from .training import distill

__all__ = [
    'Components',
    'Crops',
    'Recipe',
    'Teacher',
    'build_backbone',
    'build_teacher',
    'distill',
    'knn_accuracy',
    'list_images',
    'pooled_features',
    'principal_components',
    'read_tags',
]
