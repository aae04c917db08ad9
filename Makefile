# What a contributor runs; `make` alone lists it. The environment is the README's: its command for the tests.
.DEFAULT_GOAL := help
.PHONY: help test fast lint docs site bench

help: ## list these targets
	@sed -n 's/^\([a-z]*\): .*## /\1	/p' $(MAKEFILE_LIST)

test: ## all tests, as in CI
	pytest

fast: ## the tests without the marker `slow`: under 90 s on 2 cores
	pytest -m "not slow"

lint: ## what CI asks of the code: style, types, layers
	pre-commit run --all-files

docs: ## what docs/commands.md takes from the code, written anew; the tests compare the two
	python docs/make_commands.py

site: ## the site, with the notebooks executed, into build/site/html
	python docs/make_site.py

DATA ?= ../shared/ham10000/HAM10000_images
bench: ## how fast prediction (of the images in DATA=DIR) and the input pipeline are, and how much memory training takes
	python benchmarks/predict.py --data $(DATA)
	python benchmarks/pipeline.py
	python benchmarks/memory.py
