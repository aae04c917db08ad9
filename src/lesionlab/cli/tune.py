"""`lesionlab tune`: a search for a better recipe."""

import argparse
from pathlib import Path

from lesionlab.cli.arguments import Commands, positive, whole_number


def add_tune(commands: Commands) -> None:
    """Add `tune` to the subcommands of `lesionlab`."""
    tune = commands.add_parser("tune", help="search for a better recipe, many trials side by side (Ray Tune)")
    tune.add_argument("recipe", metavar="RECIPE", help="name or file of the recipe that is varied")
    tune.add_argument("--space", type=Path, required=True, metavar="FILE", help="TOML: which keys, in what range")
    tune.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of images and metadata")
    tune.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for best.toml and trials.csv")
    tune.add_argument(
        "--trials", type=positive, default=20, metavar="N", help="how many recipes are tried (default: 20)"
    )
    tune.add_argument("--epochs", type=positive, metavar="N", help="most epochs of a trial, instead of the recipe's")
    tune.add_argument("--weights", metavar="FILE|none", help="starting weights, as for run")
    tune.add_argument("--limit", type=positive, metavar="N", help="take about N images, whole lesions, as for run")
    tune.add_argument(
        "--seed", type=whole_number, default=0, metavar="N", help="seed of split, trials and training (default: 0)"
    )
    tune.add_argument("--cpus", type=positive, default=1, metavar="N", help="cores of a trial (default: 1)")
    tune.add_argument("--address", metavar="HOST:PORT", help="a Ray cluster (default: this machine's cores)")
    tune.add_argument("--again", action="store_true", help="search anew, whatever --out holds of a search")
    tune.set_defaults(command=_tune)


def _tune(options: argparse.Namespace) -> int:
    """Search; exit code 1 where trials failed."""
    from lesionlab.lifecycle.tune import Search, tune
    from lesionlab.recipe import read_recipe

    recipe = read_recipe(options.recipe)
    if options.weights:
        recipe = recipe.with_changes("model", weights=options.weights)
    if options.epochs is not None:
        recipe = recipe.with_changes("optimizer", epochs=options.epochs)
    search = Search(recipe, options.space, options.data, options.out, options.trials, options.seed, options.limit)
    found = tune(search, cpus=options.cpus, address=options.address, again=options.again)
    return 1 if found.n_failed else 0
