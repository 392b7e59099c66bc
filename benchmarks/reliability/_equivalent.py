"""Mutants that cannot change a result and are not counted, with reasons, by file, function and change."""

EQUIVALENT: dict[str, dict[tuple[str, str], str]] = {
    "activations": {
        ("sigmoid", "x >= 0.0 -> x > 0.0"): "at 0, e = exp(0) is 1 too",
        (
            "elu",
            "xp.where(above, 0.0, x) -> xp.where(above, 1.0, x)",
        ): "where x > 0, the value of expm1 is not used; it must only be finite",
        ("softplus", "x <= 0.0 -> x < 0.0"): "at 0, x is 0 too",
    },
    "gates": {
        (
            "matmul",
            "xp.expand_dims(y, axis=-1) -> xp.expand_dims(y, axis=1)",
        ): "y has one axis here, and the new last one is axis 1",
        (
            "matmul",
            "xp.expand_dims(x, axis=-2) -> xp.expand_dims(x, axis=0)",
        ): "x has one axis here, and the new last but one is axis 0",
        (
            "sum",
            "axis is not None and (not keepdims) -> axis is not None",
        ): "with keepdims dy has the shape already to which it would be reshaped",
        (
            "_unbroadcast",
            "n == 1 and dz.shape[i + extra] != 1 -> n == 1",
        ): "the sum over an axis of one element is that element, and the reshape gives the axis back",
    },
    "initializers": {
        (
            "orthogonal",
            "len(shape) > 1 -> len(shape) < 1",
        ): "a stack of one matrix is factored as the matrix, and reshaped",
        (
            "orthogonal",
            "len(shape) > 1 -> len(shape) > 2",
        ): "a stack of one matrix is factored as the matrix, and reshaped",
        (
            "orthogonal",
            "q *= np.copysign(1.0, np.diagonal(r, axis1=-2, axis2=-1))[..., None, :] -> "
            "q /= np.copysign(1.0, np.diagonal(r, axis1=-2, axis2=-1))[..., None, :]",
        ): "the signs are 1 and -1",
    },
    "layers": {
        (
            "Activation.bind",
            "(1, *in_shape) -> (2, *in_shape)",
        ): "the number of rows that are tried is left out of the shape",
    },
    "losses": {
        (
            "_cross_entropy_of_logits",
            "z >= 0.0 -> z > 0.0",
        ): "at 0, the slope is multiplied by 0, and e = exp(0) is 1 too",
        (
            "kl_divergence",
            "xp.where(target == 0.0, 1.0, target) -> xp.where(target == 0.0, 1.5, target)",
        ): "its logarithm, which is finite, is multiplied by the target 0",
    },
    "metrics": {
        (
            "_classes",
            "xp.astype(target, predicted.dtype, copy=False) -> xp.astype(target, predicted.dtype, copy=True)",
        ): "a copy has the same values",
        (
            "_r2",
            "xp.where(known, spread, 1.0) -> xp.where(known, spread, 1.5)",
        ): "the quotient is replaced by NaN there; the divisor must only not be 0",
    },
    "optimizers": {
        (
            "global_norm",
            "xp.where(top == 0.0, 1.0, top) -> xp.where(top == 0.0, 1.5, top)",
        ): "where the largest is 0, all are, and 0 divided and multiplied by any number is 0",
        ("clip_by_norm", "excess <= 1.0 -> excess < 1.0"): "at 1, excess is 1 too",
        (
            "_product",
            "2.0 ** (-60) -> 3.0 ** (-60)",
        ): "1 - product, which is all that is used, is 1 from 2^-54 on",
        (
            "_product",
            "2.0 ** (-60) -> 2.0 ** (-61)",
        ): "1 - product, which is all that is used, is 1 from 2^-54 on",
        (
            "_product",
            "1 << t.bit_length() -> 2 << t.bit_length()",
        ): "a longer table begins with the same numbers",
    },
    "schedules": {
        ("Cyclic.rate", "now <= self.up -> now < self.up"): "at the top, now = up, both are 1",
    },
}
