"""`lesionlab tune`: a search for a better recipe."""

import argparse
from pathlib import Path

from lesionlab.cli.arguments import Commands, add_data, add_reading, positive, recipe_that_reads, whole_number


def add_tune(commands: Commands) -> None:
    """Add `tune` to the subcommands of `lesionlab`."""
    tune = commands.add_parser(
        "tune",
        help="search for a better recipe (hyperparameters) with Ray Tune",
        description="Train variants of a recipe, several at a time, stop early those that lag behind, and write the best as "
        "best.toml. Variants are compared on the validation part; the test part is not used. An interrupted search resumes: "
        "repeat the same command.",
    )
    tune.add_argument("recipe", metavar="RECIPE", help="name or file of the recipe to vary")
    tune.add_argument(
        "--space",
        type=Path,
        required=True,
        metavar="FILE",
        help="search space: a TOML file of recipe keys and their ranges",
    )
    add_data(tune)
    tune.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for best.toml and trials.csv")
    tune.add_argument(
        "--trials", type=positive, default=20, metavar="N", help="number of variants to train (default: 20)"
    )
    tune.add_argument(
        "--epochs", type=positive, metavar="N", help="epochs of a trial at most, in place of the recipe's"
    )
    tune.add_argument("--weights", metavar="FILE|none", help="initial weights, as for run")
    tune.add_argument("--limit", type=positive, metavar="N", help="use about N images, as for run")
    tune.add_argument(
        "--seed",
        type=whole_number,
        default=0,
        metavar="N",
        help="random seed of split, trials and training (default: 0)",
    )
    tune.add_argument("--cpus", type=positive, default=1, metavar="N", help="CPU cores per trial (default: 1)")
    tune.add_argument("--address", metavar="HOST:PORT", help="Ray cluster to use (default: start Ray on this machine)")
    tune.add_argument("--again", action="store_true", help="start over, and replace what --out holds of this search")
    add_reading(tune)
    tune.set_defaults(command=_tune)


def _tune(options: argparse.Namespace) -> int:
    """Search; exit code 1 where trials failed."""
    from lesionlab.folders import as_data
    from lesionlab.lifecycle.tune import Search, tune
    from lesionlab.recipe import read_recipe

    recipe = recipe_that_reads(read_recipe(options.recipe), options)
    if options.weights:
        recipe = recipe.with_changes("model", weights=options.weights)
    if options.epochs is not None:
        recipe = recipe.with_changes("optimizer", epochs=options.epochs)
    data = as_data(options.data)
    search = Search(recipe, options.space, data, options.out, options.trials, options.seed, options.limit)
    found = tune(search, cpus=options.cpus, address=options.address, again=options.again)
    return 1 if found.n_failed else 0
