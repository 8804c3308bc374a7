"""Fuzz a parser with atheris, guided by what of it runs (by hand: pip install atheris).

python tests/fuzz/fuzz.py labels|list|xml [--seconds 60]

What breaks it is left in the current folder as `crash-...`: keep it in `tests/fuzz/corpus` as TARGET-WHAT.
"""

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

CORPUS = Path(__file__).parent / 'corpus'
#: What the fuzzer begins with.
SEEDS = dict(
    labels=[
        b'\x00id,label\na,cat,dog\nb\n',
        b'\x00id;cat;dog;dining table\na;1;0;x\nb;;;\n',
        b'\x00sep=;\n"a b";"dining table"\n',
        b'\x01a\tcat\n',
        b'\x02{"a": ["cat"], "b": [0, 1, 0], "c": []}',
    ],
    list=[b'a\nb/c\n', b'\xef\xbb\xbfa.JPG\r\nb\\c.png\r\n', '\u00e9\n'.encode()],
    xml=[
        b'<?xml version="1.0" encoding="utf-8"?><annotation><filename>a.jpg</filename><size><width>50</width>'
        b'<height>40</height></size><object><name>dog</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>9</xmax>'
        b'<ymax>8.5</ymax></bndbox></object></annotation>',
        b'<!DOCTYPE a [<!ENTITY b "cc">]><annotation><object><name>&b;</name></object></annotation>',
    ],
)
#: Whose branches guide the fuzzer.
MODULES = [
    *(f'afa_mmseg.datasets.{name}' for name in ('label_files', 'label_tables', 'picture_files', 'checks')),
    'afa_mmseg.datasets.preparation.voc_labels',
    'json.decoder',
]
#: Words that random bytes would take long to find.
WORDS = (
    *('id', 'label', 'cat', 'dog', 'dining table', 'sep=', '""', '\\ud800', '[[', '{"', '../', '..\\'),
    *('<object>', '<name>', '</name>', '</object>', '<!DOCTYPE', '<!ENTITY', '&lt;', '&#0;', 'encoding="'),
    *('utf-16', 'NaN', '1e9999'),
)


def main() -> None:
    """Fuzz until the time is up."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('target', choices=sorted(SEEDS))
    parser.add_argument('--seconds', type=int, default=60, help='default: %(default)s')
    args = parser.parse_args()
    import atheris

    with atheris.instrument_imports(include=MODULES):
        from tests.fuzz.targets import TARGETS
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        seeds, work = folder / 'seeds', folder / 'work'
        seeds.mkdir()
        work.mkdir()
        for index, seed in enumerate(SEEDS[args.target]):
            (seeds / str(index)).write_bytes(seed)
        for file in CORPUS.glob(f'{args.target}-*'):
            (seeds / file.name).write_bytes(file.read_bytes())
        words = folder / 'words'
        words.write_text(''.join('"' + ''.join(f'\\x{byte:02x}' for byte in word.encode()) + '"\n' for word in WORDS))
        options = [
            f'-max_total_time={args.seconds}',
            f'-dict={words}',
            '-max_len=2000',
            '-timeout=10',
            '-print_final_stats=1',
        ]
        atheris.Setup([sys.argv[0], *options, str(seeds)], lambda data: TARGETS[args.target](data, work))
        atheris.Fuzz()


if __name__ == '__main__':
    main()
