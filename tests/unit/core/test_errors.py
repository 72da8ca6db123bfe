"""The family of errors is drawn in its module's docstring, so the drawing must be complete."""

from services.core import errors


def test_every_error_is_in_the_drawing():
    classes = [item for item in vars(errors).values() if isinstance(item, type) and issubclass(item, Exception)]

    assert len(classes) > 5
    assert all(cls.__name__ in errors.__doc__ for cls in classes)


def test_every_error_of_a_service_has_one_root():
    classes = [item for item in vars(errors).values() if isinstance(item, type) and issubclass(item, Exception)]

    assert {cls for cls in classes if not issubclass(cls, errors.ServiceError)} == {errors.ConfigError}
