"""A schedule is five fields of a crontab, as far as Kubeflow knows them."""

import pytest

from modelloop import UserError
from modelloop.kubeflow import cron


@pytest.mark.parametrize(
    "text",
    ["0 3 * * 1", "*/15 * * * *", "0 0 1,15 jan-jun *", "5-10/2 0-23 31 12 SAT", "7 7 7 7 */7"],
)
def test_a_crontabs_fields_are_taken(text):
    assert cron.with_seconds(text) == f"0 {text.upper()}"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "five fields"),
        ("0 3 * *", "five fields"),
        ("0 0 3 * * 1", "five fields"),
        ("@daily", "five fields"),
        ("60 3 * * 1", 'minute is "60"; allowed: 0 to 59'),
        ("0 24 * * 1", 'hour is "24"'),
        ("0 3 0 * 1", 'day of the month is "0"'),
        ("0 3 * FEBRUARY 1", 'month is "FEBRUARY"; allowed: 1 to 12 or JAN to DEC'),
        ("0 3 * * 7", 'day of the week is "7"; allowed: 0 to 6 or SUN to SAT'),
        ("0 3 * * 5-1", 'day of the week is "5-1"'),
        ("*/0 3 * * 1", 'minute is "*/0"'),
        ("1-2-3 3 * * 1", 'minute is "1-2-3"'),
        ("0,,1 3 * * 1", 'minute is "0,,1"'),
        ("-1 3 * * 1", 'minute is "-1"'),
        # crontabs that Kubeflow does not know
        ("0 3 L * *", 'day of the month is "L"; allowed: 1 to 31'),
        ("0 3 ? * 1", 'day of the month is "?"'),
        ("0 3 * * 1#2", 'day of the week is "1#2"'),
        ("0 3 * * 5L", 'day of the week is "5L"'),
        ("0 3 * * 5-7", 'day of the week is "5-7"'),
        ("0 3 * * 1,07/2", 'day of the week is "1,07/2"'),
        ("0 3 31 2,4 *", "day 31 of the month never comes in 2,4"),
    ],
)
def test_what_is_no_schedule_is_refused_by_name(text, fault):
    with pytest.raises(UserError) as error:
        cron.with_seconds(text)
    assert str(error.value).startswith(f'CRON="{text}": ')
    assert fault in str(error.value)
