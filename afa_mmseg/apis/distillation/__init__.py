"""Distillation of a classifier into a backbone of ours, from unlabelled images."""

from .crops import Crops, list_images
from .maps import TeacherMaps, write_maps
from .neighbours import knn_accuracy, pooled_features
from .tags import read_tags
from .teacher import Teacher, build_teacher
from .training import Recipe, build_backbone, distill

__all__ = [
    'Crops',
    'Recipe',
    'Teacher',
    'TeacherMaps',
    'build_backbone',
    'build_teacher',
    'distill',
    'knn_accuracy',
    'list_images',
    'pooled_features',
    'read_tags',
    'write_maps',
]
