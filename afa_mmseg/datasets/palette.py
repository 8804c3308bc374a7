"""Colours for classes that have none."""


def voc_palette(num_classes: int) -> list[list[int]]:
    """Give the first colours of PASCAL VOC's colour map, RGB in 0..255; black, for the background, is the first.

    The bits of a class's number become the highest bits of the three channels, in turn.

    Example:
        >>> voc_palette(4)
        [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]
    """
    return [
        [sum((index >> (3 * bit + channel) & 1) << (7 - bit) for bit in range(8)) for channel in range(3)]
        for index in range(num_classes)
    ]
