"""A call that is to be refused, with what is wrong and what to do."""

import pytest


def refused(function, *arguments, words, errors=(ValueError, FileNotFoundError), **settings):
    """Check that a call is refused, in words."""
    with pytest.raises(errors) as error:
        function(*arguments, **settings)
    assert [word for word in words if word not in str(error.value)] == [], str(error.value)
