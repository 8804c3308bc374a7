"""What hostile files once broke stays mended."""

import pytest

from tests.fuzz.fuzz import CORPUS, SEEDS
from tests.fuzz.targets import CLASSES, TARGETS, read_label_file, read_or_refuse, read_voc_xml

KEPT = sorted(CORPUS.iterdir())


def test_the_corpus_is_found():
    assert {file.name.split('-')[0] for file in KEPT} == {*TARGETS}


@pytest.mark.parametrize('file', KEPT, ids=lambda file: file.name)
def test_what_broke_a_parser_is_read_or_refused(file, tmp_path):
    TARGETS[file.name.split('-')[0]](file.read_bytes(), tmp_path)


def test_the_fuzzer_begins_with_files_that_are_read(tmp_path):
    for target, seeds in SEEDS.items():
        for seed in seeds:
            TARGETS[target](seed, tmp_path)
    for index, suffix in enumerate(('.csv', '.csv', '.csv', '.tsv', '.json')):
        path = tmp_path / f'labels{suffix}'
        path.write_bytes(SEEDS['labels'][index][1:])
        assert read_or_refuse(read_label_file, path, CLASSES), path
    (tmp_path / 'b.xml').write_bytes(SEEDS['xml'][0])
    assert read_voc_xml(tmp_path / 'b.xml') == ['dog']
