"""A task function's signature as one generated Struct, which checks, encodes and decodes the arguments."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, Unpack, get_args, get_origin

import msgspec
from msgspec import UNSET

from heeler.arguments.annotations import annotation_text, resolve, signature_text
from heeler.arguments.gaps import Gap, Mend, Way, mended, take_gaps
from heeler.arguments.misfits import misfit, place_of
from heeler.arguments.unbound import given_unbound, read_unbound, refusal
from heeler.contracts import TypedCodec
from heeler.errors import ConfigurationError, InvalidArguments
from heeler.types import TypeRegistry

__all__ = ["Parameters"]

Arguments = tuple[tuple[Any, ...], dict[str, Any]]
_Field = tuple[str, Any, Any]

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_QUOTED = re.compile(r"'(\w+)'")


class Parameters:
    """The parameters of one task that a caller fills; those that the worker supplies (id, context) are left out."""

    def __init__(
        self,
        *,
        task: str,
        signature: inspect.Signature,
        annotations: dict[str, Any],
        returns: Any,
        supplied: tuple[_Supplied, ...],
        types: TypeRegistry,
    ) -> None:
        self.task = task
        self.signature_text = signature_text(signature, annotations, returns)
        self._signature = signature
        self._annotations = annotations
        self._supplied = supplied
        parameters = tuple(signature.parameters.values())
        self._positional = tuple(p.name for p in parameters if p.kind in _POSITIONAL)
        self._positional_only = frozenset(p.name for p in parameters if p.kind is p.POSITIONAL_ONLY)
        self._by_position_or_name = frozenset(self._positional) - self._positional_only
        self._keyword_only = tuple(p.name for p in parameters if p.kind is p.KEYWORD_ONLY)
        self._rest = next((p.name for p in parameters if p.kind is p.VAR_POSITIONAL), None)
        self._extra = next((p.name for p in parameters if p.kind is p.VAR_KEYWORD), None)
        self._taken = frozenset(self._positional + self._keyword_only) - self._positional_only
        self._taken |= {each.name for each in supplied}
        self._attributes = {name: _attribute(name, index) for index, name in enumerate(signature.parameters)}
        self._struct = self._make_struct(types)
        self._kinds: dict[str, Any] | None = None  # by parameter; made when it is needed
        renamed = any(name != attribute for name, attribute in self._attributes.items())
        self._binds_directly = not (self._positional_only or self._rest or self._extra or renamed)
        self._only_positional = len(self._positional) == len(parameters)

    @classmethod
    def of(
        cls,
        function: Callable[..., Any],
        *,
        task: str,
        types: TypeRegistry,
        skip_first: bool = False,
        context_parameter: str | None = None,
    ) -> Parameters:
        """Read the signature of `function`.

        With `skip_first` the worker supplies the job's id as the first parameter (the context apart), and
        `context_parameter` names the one that takes the context. Raises ConfigurationError, which names the
        parameter, for an annotation that cannot be resolved or that msgspec does not support.
        """
        try:
            signature = inspect.signature(function)
        except (TypeError, ValueError) as error:
            raise ConfigurationError(f"task {task}: its signature cannot be read: {error}") from error
        supplied = _find_supplied(task, signature, skip_first, context_parameter)
        left_out = {each.name for each in supplied}
        asked = [p for p in signature.parameters.values() if p.name not in left_out]
        return cls(
            task=task,
            signature=signature.replace(parameters=asked),
            annotations=resolve(function, asked, task),
            returns=signature.return_annotation,
            supplied=supplied,
            types=types,
        )

    def encode(self, args: tuple[Any, ...], kwargs: dict[str, Any], codec: TypedCodec) -> bytes:
        """Bind the arguments, encode them, and decode them back as the check. Raises InvalidArguments."""
        if self._binds_directly:
            try:
                bound = self._struct(*args, **kwargs)
            except TypeError:
                bound = self._bind_to_struct(args, kwargs)
        else:
            bound = self._bind_to_struct(args, kwargs)
        try:
            payload = codec.encode(bound)
            codec.decode_as(payload, self._struct)
        except Exception as error:
            raise self._misfit(self._bind(args, kwargs), codec, error) from error
        return payload

    def encode_partly(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], codec: TypedCodec
    ) -> tuple[bytes, list[tuple[Way, Gap]]]:
        """The same where some arguments, or items in them, are gaps; those are checked when they are filled."""
        by_name = self._bind(args, kwargs)
        gaps: list[tuple[Way, Gap]] = []
        plain: dict[str, Any] = {}
        for name, value in by_name.items():
            before = len(gaps)
            plain[name] = take_gaps(value, (name,), gaps)
            if len(gaps) == before:
                self._check_one(name, value, by_name, codec)
        try:
            return codec.encode(plain), gaps
        except Exception as error:
            raise refusal(self.task, plain, codec, error) from error

    def _check_one(self, name: str, value: Any, by_name: dict[str, Any], codec: TypedCodec) -> None:
        if self._kinds is None:
            self._kinds = {field.encode_name: field.type for field in msgspec.structs.fields(self._struct)}
        try:
            codec.decode_as(codec.encode(value), self._kinds[name])
        except msgspec.ValidationError as error:
            said, _, inner = str(error).partition(" - at `$")
            text = f"{said} - at `$.{name}{inner or '`'}"
            raise misfit(self.task, text, self._annotations, by_name, self.signature_text) from error
        except Exception as error:
            raise refusal(self.task, {name: value}, codec, error) from error

    def mend(self, arguments: Arguments, mends: Iterable[Mend]) -> Arguments:
        """The decoded arguments with failures in them made objects (see `gaps.Mend`)."""
        args, kwargs = list(arguments[0]), dict(arguments[1])
        for (name, *rest), kind in mends:
            way = tuple(rest)
            if name in kwargs:
                kwargs[str(name)] = mended(kwargs[str(name)], [way], kind)
            elif name == self._rest and way:
                place = len(self._positional) + int(way[0])
                args[place] = mended(args[place], [way[1:]], kind)
            elif name in self._positional and self._positional.index(str(name)) < len(args):
                place = self._positional.index(str(name))
                args[place] = mended(args[place], [way], kind)
            elif name == self._extra and way and way[0] in kwargs:
                kwargs[str(way[0])] = mended(kwargs[str(way[0])], [way[1:]], kind)
        return tuple(args), kwargs

    def decode(self, payload: bytes, codec: TypedCodec, bound: bool = True) -> Arguments:
        """The arguments in their declared types, ready for `function(*args, **kwargs)`. Raises InvalidArguments.

        An unbound payload is positional and keyword arguments as `encode_unbound` wrote them.
        """
        try:
            if not bound:
                payload = codec.encode(self._bind(*read_unbound(payload, codec)))
            values = msgspec.structs.astuple(codec.decode_as(payload, self._struct))
        except InvalidArguments:
            raise
        except msgspec.ValidationError as error:
            raise misfit(self.task, str(error), self._annotations, None, self.signature_text) from error
        except Exception as error:
            raise InvalidArguments(
                f"{self.task}: the arguments cannot be decoded as {codec.content_type}: "
                f"{str(error) or type(error).__name__}",
                task=self.task,
                expected=self.signature_text,
            ) from error
        if self._only_positional:
            for value in values:
                if value is UNSET:
                    break
            else:
                return values, {}
        return self._spread(values)

    def given(self, payload: bytes, codec: TypedCodec, bound: bool = True, positional: int | None = None) -> Arguments:
        """The arguments for display: in their declared types where they fit, else as plain values.

        `positional` is how many were given by position; None: all that can be.
        """
        try:
            args, kwargs = self.decode(payload, codec, bound)
        except InvalidArguments:
            return given_unbound(payload, codec, bound)
        if bound and positional is not None:
            names = self._positional[positional : len(args)]
            return args[:positional], dict(zip(names, args[positional:], strict=False)) | kwargs
        return args, kwargs

    def by_position(self, by_name: dict[str, Any]) -> Arguments:
        """Arguments that are known by name, those that can be by position, as far as none is missing between them."""
        kwargs = dict(by_name)
        args: list[Any] = []
        for name in self._positional:
            if name not in kwargs:
                return tuple(args), kwargs
            args.append(kwargs.pop(name))
        if self._rest:
            args += kwargs.pop(self._rest, ())
        return tuple(args), kwargs | (kwargs.pop(self._extra, {}) if self._extra else {})

    def given_by_name(self, kwargs: dict[str, Any]) -> bool:
        """Whether some of the keyword arguments could as well have been given by position."""
        return not self._by_position_or_name.isdisjoint(kwargs)

    def supply(self, arguments: Arguments, id: str, context: Any) -> Arguments:
        """The decoded arguments with the job's id and the context put in where the function takes them."""
        args, kwargs = arguments
        for each in self._supplied:
            value = context if each.is_context else id
            if each.position is not None and each.position <= len(args):
                args = (*args[: each.position], value, *args[each.position :])
            else:
                kwargs[each.name] = value
        return args, kwargs

    def _bind_to_struct(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> msgspec.Struct:
        by_name = self._bind(args, kwargs)
        return self._struct(**{self._attributes[name]: value for name, value in by_name.items()})

    def _bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """The arguments by parameter name, defaults left out. Raises InvalidArguments."""
        shadowing = {}
        if self._extra and not self._positional_only.isdisjoint(kwargs):
            # Legal in a call, but not to `Signature.bind` before Python 3.13 where the parameter has a default.
            shadowing = {name: kwargs[name] for name in self._positional_only if name in kwargs}
            kwargs = {name: value for name, value in kwargs.items() if name not in shadowing}
        try:
            by_name = self._signature.bind(*args, **kwargs).arguments
        except TypeError as error:
            raise self._wrong_call(str(error)) from None
        if self._extra:
            extra = by_name.get(self._extra, {}) | shadowing
            self._check_extra(extra)
            if extra:
                by_name[self._extra] = extra
        return by_name

    def _wrong_call(self, text: str) -> InvalidArguments:
        quoted = _QUOTED.search(text)
        name = quoted[1] if quoted else None
        known = self._annotations.get(name, Any) if name else Any
        return InvalidArguments(
            f"{self.task}: {text}; it takes {self.signature_text}",
            task=self.task,
            parameter=name,
            expected=annotation_text(known) if name in self._annotations else self.signature_text,
            given="nothing" if text.startswith("missing") else "",
        )

    def _check_extra(self, extra: Mapping[str, Any]) -> None:
        for name in extra:
            if name in self._taken:
                raise InvalidArguments(
                    f'{self.task}: "{name}" is not for the caller to give; it takes {self.signature_text}',
                    task=self.task,
                    parameter=name,
                )

    def _misfit(self, by_name: dict[str, Any], codec: TypedCodec, error: Exception) -> InvalidArguments:
        if not isinstance(error, msgspec.ValidationError):
            return refusal(self.task, by_name, codec, error)
        text = str(error)
        annotations, (name, inner) = self._annotations, place_of(text)
        if name is not None and name == self._extra and inner.startswith("[...]"):
            return self._misfit_in_extra(by_name[name], codec, text)
        return misfit(self.task, text, annotations, by_name, self.signature_text)

    def _misfit_in_extra(self, extra: dict[str, Any], codec: TypedCodec, text: str) -> InvalidArguments:
        """For a surplus keyword argument, since msgspec does not say which of them it is."""
        kind = self._annotations[self._extra or ""]
        for name, value in extra.items():
            try:
                codec.decode_as(codec.encode(value), kind)
            except msgspec.ValidationError as error:
                said, _, inner = str(error).partition(" - at `$")
                text = f"{said} - at `$.{name}{inner or '`'}"
                break
        return misfit(self.task, text, dict.fromkeys(extra, kind), extra, self.signature_text)

    def _spread(self, values: tuple[Any, ...]) -> Arguments:
        """Positional arguments up to the first that was left out, all others by name."""
        kwargs = {name: value for name, value in zip(self._names, values, strict=True) if value is not UNSET}
        args = []
        for name in self._positional:
            if name not in kwargs:
                break
            args.append(kwargs.pop(name))
        rest = kwargs.pop(self._rest, ()) if self._rest else ()
        if (rest and len(args) < len(self._positional)) or not self._positional_only.isdisjoint(kwargs):
            missing = self._positional[len(args)]
            raise InvalidArguments(
                f'{self.task}: argument "{missing}" is missing, but others that follow it by position are there',
                task=self.task,
                parameter=missing,
                expected=annotation_text(self._annotations[missing]),
                given="nothing",
            )
        if self._extra and self._extra in kwargs:
            extra = kwargs.pop(self._extra)
            self._check_extra(extra)
            kwargs.update(extra)
        return (*args, *rest), kwargs

    def _make_struct(self, types: TypeRegistry) -> type[msgspec.Struct]:
        by_position: list[_Field] = []
        by_name: list[_Field] = []
        for parameter in self._signature.parameters.values():
            fields = by_position if parameter.kind in _POSITIONAL else by_name
            fields.append(self._field(parameter))
        names = {attribute: name for name, attribute in self._attributes.items()}

        def struct(fields: list[_Field], **options: Any) -> type[msgspec.Struct]:
            return msgspec.defstruct(
                "Arguments", fields, forbid_unknown_fields=True, gc=False, rename=names.get, module=__name__, **options
            )

        made = struct(by_position)
        if by_name:
            made = struct(by_name, bases=(made,), kw_only=True)
        try:
            msgspec.msgpack.Decoder(made, dec_hook=types.decode_hook)
        except Exception as error:
            raise self._unsupported(by_position + by_name, types, error) from error
        self._names = tuple(names[attribute] for attribute in made.__struct_fields__)
        return made

    def _field(self, parameter: inspect.Parameter) -> _Field:
        attribute, annotation = self._attributes[parameter.name], self._annotations[parameter.name]
        unpacked = get_args(annotation)[0] if get_origin(annotation) is Unpack else None
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            return attribute, unpacked or list[annotation], UNSET  # type: ignore[valid-type]
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            return attribute, unpacked or dict[str, annotation], UNSET  # type: ignore[valid-type]
        return attribute, annotation, msgspec.NODEFAULT if parameter.default is parameter.empty else UNSET

    def _unsupported(self, fields: list[_Field], types: TypeRegistry, error: Exception) -> ConfigurationError:
        for attribute, kind, _ in fields:
            try:
                msgspec.msgpack.Decoder(kind, dec_hook=types.decode_hook)
            except Exception as reason:
                name = next(name for name, known in self._attributes.items() if known == attribute)
                text = annotation_text(self._annotations[name])
                return ConfigurationError(f'task {self.task}: parameter "{name}": {text} is not supported: {reason}')
        return ConfigurationError(f"task {self.task}: its parameters are not supported: {error}")


class _Supplied(NamedTuple):
    """A parameter that the worker fills: the id or the context. `position` is None for a keyword-only one."""

    name: str
    position: int | None
    is_context: bool


def _find_supplied(
    task: str, signature: inspect.Signature, skip_first: bool, context_parameter: str | None
) -> tuple[_Supplied, ...]:
    parameters = list(signature.parameters.values())
    if context_parameter is not None and context_parameter not in signature.parameters:
        raise ConfigurationError(f'task {task}: it has no parameter "{context_parameter}" to take the context')
    supplied = []
    wants_id = skip_first
    for position, parameter in enumerate(parameters):
        is_positional = parameter.kind in _POSITIONAL
        if parameter.name == context_parameter:
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                raise ConfigurationError(f'task {task}: "{context_parameter}" cannot take the context')
            supplied.append(_Supplied(parameter.name, position if is_positional else None, True))
        elif wants_id and is_positional:
            wants_id = False
            supplied.append(_Supplied(parameter.name, position, False))
    if wants_id:
        raise ConfigurationError(f"task {task}: id_as_first_arg needs a positional parameter that takes the id")
    return tuple(supplied)


def _attribute(name: str, index: int) -> str:
    """The Struct's name of a parameter: its own, except that Structs cannot have names with two leading underscores."""
    return f"parameter_{index}_" if name.startswith("__") else name
