"""ResUNet and CAESSC in Keras 3, written plainly: the other side of `bench_training.py`, which starts it.

    python bench_training_keras.py resunet3 250

Reads numbers of steps from standard input and prints the seconds that they took, for 0 the number of weights.
"""

from __future__ import annotations

import sys
import time

import keras
import numpy as np
from keras import layers


def conv(x, channels, kernel=3, strides=1):
    x = layers.Conv2D(channels, kernel, strides, padding="same", use_bias=False)(x)
    return layers.ReLU()(layers.BatchNormalization()(x))


def deconv(x, channels, kernel):
    x = layers.Conv2DTranspose(channels, kernel, padding="same", use_bias=False)(x)
    return layers.ReLU()(layers.BatchNormalization()(x))


def unit(x, channels, blocks):
    for _ in range(blocks):
        x = layers.Add()([x, conv(conv(x, channels), channels)])
    return conv(x, channels)


def up(x, skip, channels):
    x = layers.Conv2DTranspose(channels, 3, 2, padding="same")(x)
    return conv(layers.Concatenate()([skip, x]), channels)


def resunet3():
    start = keras.Input((32, 32, 3))
    one = unit(conv(start, 32), 32, 3)
    two = unit(conv(one, 64, strides=2), 64, 3)
    x = unit(conv(two, 128, strides=2), 128, 3)
    x = unit(up(x, two, 64), 64, 3)
    x = unit(up(x, one, 32), 32, 3)
    x = layers.Conv2DTranspose(32, 3, padding="same", activation="relu")(x)
    return keras.Model(start, layers.Conv2DTranspose(3, 3, padding="same", activation="sigmoid")(x))


def caessc_d30_f64(half=15, channels=64):
    start = x = keras.Input((32, 32, 3))
    kept = {}
    for i in range(1, half + 1):
        x = kept[i] = conv(x, channels, 5)
    for i in range(half, 0, -1):
        x = deconv(x, channels if i > 1 else 3, 5)
        if i % 2 == 0:
            x = layers.ReLU()(layers.BatchNormalization()(layers.Add()([x, kept[i]])))
    x = layers.BatchNormalization()(layers.Add()([start, x]))
    return keras.Model(start, layers.Activation("sigmoid")(x))


def main() -> None:
    name, batch = sys.argv[1], int(sys.argv[2])
    net = {"resunet3": resunet3, "caessc_d30_f64": caessc_d30_f64}[name]()
    net.compile(optimizer=keras.optimizers.Adam(1e-4), loss="mse")
    rng = np.random.default_rng(0)
    blurred, sharp = (rng.random((batch, 32, 32, 3), np.float32) for _ in range(2))
    net.train_on_batch(blurred, sharp)  # traces and compiles
    for line in sys.stdin:
        steps = int(line)
        started = time.perf_counter()
        for _ in range(steps):
            net.train_on_batch(blurred, sharp)
        weights = sum(int(np.prod(weight.shape)) for weight in net.trainable_weights)
        print(time.perf_counter() - started if steps else weights, flush=True)


if __name__ == "__main__":
    main()
