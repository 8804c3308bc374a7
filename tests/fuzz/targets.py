"""What must hold of each parser, whatever bytes it is given: a sound result, or a `ValueError` that names the file."""

import re
from pathlib import Path

from afa_mmseg.datasets.images import match_ids, read_ids
from afa_mmseg.datasets.label_files import label_text, read_classes, read_label_file, read_voc_xml
from afa_mmseg.datasets.preparation.voc_labels import read_objects

CLASSES = ('cat', 'dog', 'dining table')
SUFFIXES = ('.csv', '.tsv', '.json')


def check_labels(data: bytes, folder: Path) -> None:
    """Read a label file; the first byte says of which kind."""
    path = folder / f'labels{SUFFIXES[data[0] % 3] if data else ".csv"}'
    path.write_bytes(data[1:])
    labels = read_or_refuse(read_label_file, path, CLASSES)
    if labels is not None:
        assert all(isinstance(i, str) and set(names) <= {*CLASSES} for i, names in labels.items())
        again = folder / 'again.json'
        again.write_text(label_text(labels), encoding='utf-8')
        assert read_label_file(again, CLASSES) == labels
    classes = read_or_refuse(read_classes, path)
    if classes is not None:
        assert len({*classes}) == len(classes) > 0
        ', '.join(classes).encode()
        read_or_refuse(read_label_file, path, classes)


def check_list(data: bytes, folder: Path) -> None:
    """Read a split list."""
    path = folder / 'train.txt'
    path.write_bytes(data)
    ids = read_or_refuse(read_ids, path)
    for img_id in ids or ():
        inside = (folder / f'{img_id}.jpg').resolve()
        assert inside.is_relative_to(folder.resolve())
        assert '..' not in re.split(r'[\\/]', img_id)
        len(img_id) < 2000 and inside.is_file()  # a name that the system takes
    if ids:
        matched = read_or_refuse(match_ids, ids, {'a', 'b/c'}, ('.jpg', '.png'), str(path))
        assert matched is None or list(matched) == ids


def check_xml(data: bytes, folder: Path) -> None:
    """Read a VOC annotation."""
    path = folder / 'a.xml'
    path.write_bytes(data)
    names = read_or_refuse(read_voc_xml, path)
    assert names is None or all(isinstance(name, str) and name == name.strip() != '' for name in names)
    read_or_refuse(read_objects, path, 'a', (50, 40))


def read_or_refuse(read, path, *arguments):
    """Give what `read` returns, or None where it refuses the file as it should."""
    try:
        return read(path, *arguments)
    except ValueError as error:
        message, named = str(error), str(arguments[-1] if read is match_ids else path)
    assert named in message, f'the message does not name the file: {message}'
    message.encode()  # it can be printed
    return None


TARGETS = dict(labels=check_labels, list=check_list, xml=check_xml)
