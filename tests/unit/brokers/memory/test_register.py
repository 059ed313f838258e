from heeler.brokers.memory.register import Register


def filled(numbers: range) -> Register:
    register = Register()
    for number in numbers:
        register.enter(number, f"{number}")
    return register


def test_it_is_read_from_the_last_number_down_and_from_any_number() -> None:
    register = filled(range(5000))
    assert list(register.newest()) == [(number, f"{number}") for number in range(4999, -1, -1)]
    for before in (0, 1, 1023, 1024, 1025, 3000, 9000):
        expected = range(min(before, 5000) - 1, -1, -1)
        assert [number for number, _ in register.newest(before)] == list(expected)


def test_what_is_struck_is_not_read_and_takes_no_room() -> None:
    register = filled(range(5000))
    for number in range(5000):
        if number != 2000:
            register.strike(number)
            register.strike(number)
    assert list(register.newest()) == [(2000, "2000")]
    assert len(register._pages) == 1
    register.strike(7)
    assert list(register.newest(2000)) == []
