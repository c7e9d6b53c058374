"""The pixels of the image that each unit of a layer sees."""

from typing import NamedTuple

from alexnet_jax.network.layers import Network, Size, summarize


class ReceptiveField(NamedTuple):
    """What units see of the image along one side, in pixels, those beyond its edges included."""

    layer: str
    units: int
    size: int
    stride: float  # 0 where there is one unit
    first_centre: float  # the first pixel is 0

    def centre(self, unit: int) -> float:
        return self.first_centre + unit * self.stride

    def bounds(self, unit: int) -> tuple[float, float]:
        """The first and the last pixel; beyond the image is padding."""
        reach = (self.size - 1) / 2
        return self.centre(unit) - reach, self.centre(unit) + reach


def receptive_fields(
    network: Network, image_size: Size | None = None, axis: int = 0
) -> list[ReceptiveField]:
    """Returns the fields of all layers along the height (0) or width (1); dense: the whole image.

    >>> fields = {field.layer: field for field in receptive_fields(NETWORKS["paper"])}
    >>> fields["conv5"].size, fields["conv5"].stride, fields["conv5"].units
    (163, 16.0, 13)
    """
    summaries = summarize(network, image_size)
    image = summaries[0].input_shape[axis]
    size, stride, centre, dense = 1, 1.0, 0.0, False
    fields = []
    for summary in summaries:
        field = None if dense else summary.layer.field(summary.input_shape[axis])
        dense = field is None
        if field is None:
            fields.append(ReceptiveField(summary.name, 1, image, 0.0, (image - 1) / 2))
            continue
        size += round((field.size - 1) * stride)
        centre += ((field.size - 1) / 2 - field.before) * stride
        stride *= field.stride
        units = summary.output_shape[axis]
        fields.append(ReceptiveField(summary.name, units, size, stride, centre))
    return fields
