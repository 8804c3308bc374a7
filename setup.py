"""Packaging of afa-mmseg. Settings of the tools (ruff, mypy, pytest) stand in pyproject.toml."""

import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
#: What a wheel holds as `afa_mmseg/.mim`, where mim and `afa_mmseg.utils.package_files` look.
MIM = ('configs', 'tools', 'model-index.yml')

# The mm* packages are extras, as OpenMMLab's own projects have it: OneDL's and OpenMMLab's distributions
# install to the same folders, so a plain install must never pull one family over the other.
# `pip install -e ".[onedl]"` is the tested stack (Python 3.10 or newer).
EXTRAS = {
    'onedl': [
        'onedl-mmcv>=2.3.6',
        'onedl-mmengine>=0.10.12',
        'onedl-mmsegmentation>=1.4.2',
        'onedl-mmpretrain>=1.3.6',
        'torchvision',  # mmpretrain imports it without declaring it
    ],
    'openmmlab': [
        'mmcv>=2.1,<2.2',  # mmsegmentation 1.2.2 refuses 2.2
        'numpy<2',  # on NumPy 2, mmcv 2.1 cannot shift hues, which ToCo's colour jitter does
        'mmengine>=0.10',
        'mmsegmentation>=1.2.2',
        'mmpretrain>=1.2',
        'torchvision',
        'ftfy',  # mmsegmentation imports these two without declaring them
        'regex',
    ],
    # What single tools need; each says so when it is missing.
    'tensorboard': ['tensorboard>=2.13'],  # the quickstart's config logs to it
    'converters': [
        'pycocotools>=2.0.7',  # prepare_coco.py
        'scipy',  # prepare_voc.py: SBD's .mat files
    ],
    'timm': ['timm>=0.9'],  # TIMMBackbone in AttentionBackbone; teachers of distill_backbone.py
    'demo': ['gradio>=6.30,<7'],  # web_demo.py
    'hub': ['huggingface_hub>=0.23'],  # publish_model.py --push, from_pretrained
    'labels': ['label-studio-converter>=0.0.59', 'pycocotools>=2.0.7'],  # export_labels.py
    'completion': ['shtab>=1.7'],  # afa completion
    'onnx': ['onnx>=1.17', 'onnxscript>=0.2', 'onnxruntime>=1.20'],  # export_onnx.py
    'docs': ['mkdocs>=1.6,<2', 'mkdocs-material>=9.6,<10', 'mkdocstrings[python]>=1.0,<2'],
    'test': [
        'pytest>=8,<10',
        'pytest-xdist>=3.6',
        'hypothesis>=6',
        'playwright>=1.60',  # drives the Chromium that is installed
        'nbclient>=0.10',  # runs docs/tutorial.ipynb
        'ipykernel>=6.29',
        'ruff>=0.17.6,<0.18',  # another minor release formats differently
        'mypy>=2.4,<2.5',
        'codespell>=2.4,<2.5',
        'setuptools>=70.1',  # builds the wheel that a test installs
    ],
}
for name in ('completion', 'converters', 'demo', 'docs', 'hub', 'labels', 'onnx', 'tensorboard', 'timm'):
    EXTRAS['test'] += EXTRAS[name]
EXTRAS['test'].append('transformers>=4.40')  # a test converts its SegformerModel
EXTRAS['test'].append('efficientnet-lite-pytorch')  # 22 KB; a test compares logits
EXTRAS['dev'] = [*EXTRAS['test'], 'pre-commit>=4', 'pre-commit-hooks>=5']


def read(name: str) -> str:
    path = ROOT / name
    return path.read_text(encoding='utf-8') if path.is_file() else ''


def version() -> str:
    scope: dict = {}
    exec(read('afa_mmseg/version.py'), scope)
    return scope['__version__']


class BuildWithMim(build_py):
    """Copy `MIM` into the built package; checkouts and editable installs have them beside it."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib, 'afa_mmseg', '.mim')
        shutil.rmtree(target, ignore_errors=True)  # of an earlier build
        target.mkdir(parents=True)
        for source in (ROOT / name for name in MIM):
            if source.is_dir():
                shutil.copytree(source, target / source.name, ignore=shutil.ignore_patterns('__pycache__'))
            else:
                shutil.copy(source, target)


setup(
    name='afa-mmseg',
    version=version(),
    description='Learning affinity from attention (AFA): semantic segmentation from image-level labels, '
    'for MMSegmentation',
    long_description=read('README.md'),
    long_description_content_type='text/markdown',
    author='The afa-mmseg authors',
    license='Apache-2.0',
    keywords='weakly supervised semantic segmentation, transformers, class activation map, mmsegmentation',
    packages=find_packages(include=['afa_mmseg', 'afa_mmseg.*']),
    py_modules=['afa_mmseg_cli'],
    entry_points=dict(console_scripts=['afa = afa_mmseg_cli:main']),
    cmdclass=dict(build_py=BuildWithMim),
    package_data={
        'afa_mmseg.datasets.preparation': ['voc_animals_*.txt'],
        'afa_mmseg.models.checkpoints': ['shipped/*'],
    },
    python_requires='>=3.9',
    install_requires=['torch>=2.0', 'numpy', 'safetensors>=0.4'],
    extras_require=EXTRAS,
    classifiers=[
        'Development Status :: 4 - Beta',
        'Intended Audience :: Science/Research',
        'Programming Language :: Python :: 3',
        'Topic :: Scientific/Engineering :: Image Recognition',
    ],
)
