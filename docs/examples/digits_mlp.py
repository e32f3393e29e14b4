"""A trainer of one's own: networks of scikit-learn in the space that digits_mlp.toml declares."""

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

images, labels = load_digits(return_X_y=True)
x, x_test, y, y_test = train_test_split(images / 16, labels, test_size=0.2, random_state=0)
x, x_validation, y, y_validation = train_test_split(x, y, test_size=0.25, random_state=0)


def train(architecture, budget, seed, report):
    """Train an architecture for the budget's epochs on the budget's share of the images."""
    chosen = architecture.choices  # {"width": 16, "depth": 2, "activation": "relu", "rate": 0.01}
    model = MLPClassifier(
        hidden_layer_sizes=[chosen["width"]] * chosen["depth"],
        activation=chosen["activation"],
        learning_rate_init=chosen["rate"],
        random_state=seed,
    )
    shown = int(budget.data_fraction * len(x))
    for _ in range(budget.epochs):
        model.partial_fit(x[:shown], y[:shown], classes=range(10))
        report(
            validation=model.score(x_validation, y_validation),
            size=len(y_validation),
            test=model.score(x_test, y_test),
            test_size=len(y_test),
        )


train.dataset = "digits"  # what tables call the images
