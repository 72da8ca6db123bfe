"""Arguments that the evaluator's commands share."""

import pytest

from services.evaluator import read


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "ftp://digits.example", ""])
def test_an_address_without_http_is_refused_with_what_it_lacks(url, capsys, tmp_path):
    with pytest.raises(SystemExit) as ended:
        read.main([str(tmp_path), "--url", url])

    assert ended.value.code == 2
    assert f"{url!r} does not begin with http:// or https://" in capsys.readouterr().err
