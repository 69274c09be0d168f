"""Does a server stay as it is for half an hour at 70 % of what it can do, while its bundle is swapped every 20 s?

The same as `bench_serving.py --steady 30`, whose other arguments it takes.
"""

from __future__ import annotations

import sys

from bench_serving import main

if __name__ == "__main__":
    main(["--steady", "30", *sys.argv[1:]])
