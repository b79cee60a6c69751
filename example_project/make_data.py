"""Make the example data: thirty days of TalknShop, the same rows on every run.

Every item (a user, a product, a session, a job, a currency) draws from a random
generator of its own, so that one item can be made without making those before it.
Names, prices, fees and exchange rates are invented. All times are UTC.

    python example_project/make_data.py [--folder FOLDER]
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import sqlite3
from collections.abc import Iterable, Sequence
from datetime import date, datetime, time, timedelta
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import duckdb

Row = dict[str, Any]

# The seeds: items of different kinds with the same number must not look alike.
USER, PRODUCT, SESSION, JOB, CURRENCY = range(1, 6)

USERS, PRODUCTS, SESSIONS, JOBS = 500, 600, 2000, 500
FRESH_JOBS = 5  # started so shortly before the snapshot that some are still being posted

DAYS = 30
FIRST_DAY = date(2025, 10, 6)  # a Monday
SNAPSHOT = datetime.combine(FIRST_DAY, time()) + timedelta(days=DAYS)

# product type: (display name, category, mean price in USD, standard deviation, popularity)
PRODUCT_TYPES = {
    "laptop": ("Laptop", "Computers", 980, 240, 16),
    "monitor": ("Monitor", "Computers", 290, 80, 8),
    "smartphone": ("Smartphone", "Phones", 640, 170, 15),
    "headphones": ("Headphones", "Audio", 140, 45, 13),
    "running_shoes": ("Running shoes", "Shoes", 105, 25, 11),
    "winter_jacket": ("Winter jacket", "Outerwear", 165, 50, 8),
    "backpack": ("Backpack", "Bags", 72, 20, 6),
    "coffee_machine": ("Coffee machine", "Kitchen", 210, 65, 7),
    "air_fryer": ("Air fryer", "Kitchen", 110, 28, 6),
    "vacuum_cleaner": ("Vacuum cleaner", "Cleaning", 260, 75, 4),
    "office_chair": ("Office chair", "Furniture", 230, 70, 4),
    "desk_lamp": ("Desk lamp", "Lighting", 48, 13, 2),
}

# category: its parent
CATEGORIES = {
    "Electronics": None,
    "Fashion": None,
    "Home": None,
    "Computers": "Electronics",
    "Phones": "Electronics",
    "Audio": "Electronics",
    "Shoes": "Fashion",
    "Outerwear": "Fashion",
    "Bags": "Fashion",
    "Kitchen": "Home",
    "Cleaning": "Home",
    "Furniture": "Home",
    "Lighting": "Home",
}

# marketplace: (display name, shoppers' searches go there, fee rate, fixed fee in USD)
MARKETPLACES = {
    "amazon": ("Amazon", True, "0.1500", "0.00"),
    "ebay": ("eBay", True, "0.1325", "0.40"),
    "mercari": ("Mercari", False, "0.1000", "0.50"),
    "walmart": ("Walmart", True, "0.1200", "0.00"),
}
SEARCHED = [name for name, (_, searched, *_) in MARKETPLACES.items() if searched]

# marketplace: (chance that a posting goes live, what goes wrong otherwise)
POSTING = {
    "amazon": (0.88, {"category_not_allowed": 5, "image_rejected": 3, "rate_limited": 2}),
    "ebay": (0.94, {"auth_expired": 5, "image_rejected": 3, "timeout": 2}),
    "mercari": (0.91, {"image_rejected": 5, "timeout": 3, "rate_limited": 2}),
    "walmart": (0.83, {"rate_limited": 5, "category_not_allowed": 3, "timeout": 2}),
}

USD_PER_UNIT = {"CAD": 0.71, "EUR": 1.16, "GBP": 1.33, "USD": 1.0}

STAGES = {
    "completed": 68,
    "clarification": 8,
    "cancelled": 8,
    "failed": 6,
    "searching": 3,
    "requirement_building": 3,
    "initial": 2,
    "media_processing": 1,
    "ranking": 1,
}
WITHOUT_SPEC = {"initial", "media_processing", "requirement_building"}
WITH_RESULTS = {"ranking", "completed"}

CLARIFICATIONS = {0: 60, 1: 27, 2: 13}
CONDITIONS = {"new": 75, "refurbished": 15, "used": 10}
BRANDS = ["Alderon", "Brightwater", "Castellan", "Dovetail", "Eastlake", "Fernhill"]

SESSION_TYPE = """STRUCT(
    session_id VARCHAR,
    user_id VARCHAR,
    workflow_stage VARCHAR,
    request_type VARCHAR,
    clarification_count TINYINT,
    last_message VARCHAR,
    requirement_spec STRUCT(
        product_type VARCHAR,
        price STRUCT(max DECIMAL(10, 2), currency VARCHAR),
        brand_preferences VARCHAR[],
        marketplaces VARCHAR[]
    ),
    created_at TIMESTAMP,
    updated_at TIMESTAMP,
    week DATE
)"""

SEARCH_TYPE = """STRUCT(
    session_id VARCHAR,
    searched_at TIMESTAMP,
    product_type VARCHAR,
    marketplaces_searched VARCHAR[],
    search_duration_ms INTEGER,
    total_count TINYINT,
    products STRUCT(
        product_id VARCHAR,
        marketplace VARCHAR,
        title VARCHAR,
        price DECIMAL(10, 2),
        currency VARCHAR,
        rating DECIMAL(2, 1),
        review_count INTEGER,
        condition VARCHAR,
        availability VARCHAR
    )[],
    week DATE
)"""

# The declared types tell DuckDB's sqlite extension what to read; SQLite itself keeps text.
SELLER_APP = """
CREATE TABLE jobs (
    job_id VARCHAR PRIMARY KEY,
    user_id VARCHAR NOT NULL,
    session_id VARCHAR,
    listing_spec VARCHAR NOT NULL,
    status VARCHAR NOT NULL,
    created_at TIMESTAMP NOT NULL,
    completed_at TIMESTAMP,
    error VARCHAR
);
CREATE TABLE marketplace_jobs (
    job_id VARCHAR NOT NULL REFERENCES jobs,
    marketplace VARCHAR NOT NULL,
    status VARCHAR NOT NULL,
    listing_id VARCHAR,
    confirmation_link VARCHAR,
    posted_at TIMESTAMP,
    error VARCHAR,
    PRIMARY KEY (job_id, marketplace)
);
"""


def rng(kind: int, number: int) -> Random:
    """Return the random generator of one item."""
    return Random(kind * 1_000_003 + number)


def pick(random: Random, weights: dict[Any, int]) -> Any:
    """Return one key, drawn by its weight."""
    return random.choices(list(weights), list(weights.values()))[0]


def at(random: Random, day: int) -> datetime:
    """Return a moment of that day, most often around 15:00."""
    seconds = random.gauss(15, 4) * 3600 % 86_400
    midnight = datetime.combine(FIRST_DAY + timedelta(days=day), time())
    return midnight + timedelta(milliseconds=int(seconds * 1000))


def later(moment: datetime, seconds: float) -> datetime:
    """Return a later moment in whole milliseconds."""
    return moment + timedelta(milliseconds=round(seconds * 1000))


def week(moment: datetime) -> date:
    """Return the Monday of the moment's week."""
    return moment.date() - timedelta(days=moment.weekday())


@cache
def users() -> tuple[list[float], list[int]]:
    """Return every user's activity (Pareto) and joining day, negative before the first day."""
    draws = [rng(USER, number) for number in range(USERS)]
    return (
        [min(random.paretovariate(1.2), 25) for random in draws],
        [random.randrange(-DAYS, DAYS - 1) for random in draws],
    )


def user_and_day(random: Random) -> tuple[str, int]:
    """Return a user and a day on which they came; new users come most in their first days."""
    activity, joined = users()
    number = random.choices(range(USERS), activity)[0]
    first = joined[number]
    if first < 0:
        day = random.randrange(DAYS)
    else:
        day = first + int((DAYS - first) * random.random() ** 1.8)
    return f"user_{number:04d}", day


@cache
def product(number: int) -> Row:
    """Return a product that one marketplace offers; types alternate with the number."""
    random = rng(PRODUCT, number)
    product_type = list(PRODUCT_TYPES)[number % len(PRODUCT_TYPES)]
    name, _, mean, spread, _ = PRODUCT_TYPES[product_type]
    marketplace = pick(random, {"amazon": 45, "ebay": 30, "walmart": 25})
    abroad = {"USD": 70, "GBP": 12, "EUR": 10, "CAD": 8}
    currency = pick(random, abroad) if marketplace == "ebay" else "USD"
    usd = max(random.gauss(mean, spread), mean / 4)
    return {
        "product_id": f"prod_{number:04d}",
        "marketplace": marketplace,
        "title": f"{random.choice(BRANDS)} {name} {random.randint(2, 9) * 100}",
        "price": round(usd / USD_PER_UNIT[currency], 2),
        "currency": currency,
        "rating": round(min(max(random.gauss(4.2, 0.4), 1), 5), 1),
        "review_count": int(random.lognormvariate(5, 1.2)),
        "condition": pick(random, CONDITIONS),
        "availability": pick(random, {"in_stock": 85, "limited": 12, "out_of_stock": 3}),
    }


def results(random: Random, spec: Row) -> list[Row]:
    """Return what a search finds: no to five products, the best rated first."""
    number = pick(random, {0: 6, 1: 8, 2: 14, 3: 22, 4: 26, 5: 24})
    budget = spec["price"]["max"] if spec["price"] else float("inf")
    first = list(PRODUCT_TYPES).index(spec["product_type"])
    offers = [
        offer
        for offer in map(product, range(first, PRODUCTS, len(PRODUCT_TYPES)))
        if offer["marketplace"] in spec["marketplaces"]
        and offer["price"] * USD_PER_UNIT[offer["currency"]] <= budget
    ]
    found = random.sample(offers, min(number, len(offers)))
    return sorted(found, key=lambda offer: (-offer["rating"], offer["product_id"]))


@cache
def session(number: int) -> tuple[Row, Row | None]:
    """Return a shopper's session, and its search if it got that far."""
    random = rng(SESSION, number)
    user_id, day = user_and_day(random)
    created_at = at(random, day)
    stage = pick(random, STAGES)

    if stage in {"initial", "media_processing"}:
        clarifications = 0
    elif stage == "clarification":
        clarifications = pick(random, {1: 27, 2: 13})
    else:
        clarifications = pick(random, CLARIFICATIONS)

    product_type = pick(random, {name: row[-1] for name, row in PRODUCT_TYPES.items()})
    name, _, mean, spread, _ = PRODUCT_TYPES[product_type]
    budget = round(mean + spread * random.uniform(0.8, 2.5), -1) if random.random() < 0.6 else None
    spec = {
        "product_type": product_type,
        "price": {"max": budget, "currency": "USD"} if budget else None,
        "brand_preferences": sorted(random.sample(BRANDS, pick(random, {0: 60, 1: 25, 2: 15}))),
        "marketplaces": sorted(random.sample(SEARCHED, pick(random, {1: 25, 2: 30, 3: 45}))),
    }
    stopped = stage in {"failed", "cancelled"} and random.random() < 0.5
    spec_known = stage not in WITHOUT_SPEC and not stopped

    talk_s = random.lognormvariate(3.2, 0.6)
    talk_s += sum(random.lognormvariate(3.9, 0.7) for _ in range(clarifications))
    searched_at = later(created_at, talk_s)
    duration_ms = int(random.lognormvariate(7.1, 0.5))
    updated_at = later(searched_at, duration_ms / 1000 + random.uniform(0.4, 1.6))

    request_type = pick(random, {"search": 70, "chat": 30})
    row = {
        "session_id": f"sess_{number:05d}",
        "user_id": user_id,
        "workflow_stage": stage,
        "request_type": "clarification" if stage == "clarification" else request_type,
        "clarification_count": clarifications,
        "last_message": f"{name}, at most ${budget:.0f}" if budget else f"{name}, please",
        "requirement_spec": spec if spec_known else None,
        "created_at": created_at,
        "updated_at": updated_at if stage in WITH_RESULTS else searched_at,
        "week": week(created_at),
    }
    if stage not in WITH_RESULTS:
        return row, None

    found = results(random, spec)
    return row, {
        "session_id": row["session_id"],
        "searched_at": searched_at,
        "product_type": product_type,
        "marketplaces_searched": spec["marketplaces"],
        "search_duration_ms": duration_ms,
        "total_count": len(found),
        "products": found,
        "week": week(searched_at),
    }


def job(number: int) -> tuple[Row, list[Row]]:
    """Return a seller's cross-posting job, and its posting on each marketplace."""
    random = rng(JOB, number)
    if random.random() < 0.4:  # sold right after shopping
        shopping, _ = session(random.randrange(SESSIONS))
        user_id, session_id = shopping["user_id"], shopping["session_id"]
        created_at = later(shopping["updated_at"], random.lognormvariate(5, 0.8))
    else:
        user_id, day = user_and_day(random)
        session_id, created_at = None, at(random, day)
    if number >= JOBS - FRESH_JOBS:
        created_at = SNAPSHOT - timedelta(seconds=12 * (JOBS - number))
        session_id = None

    job_id = f"job_{number:04d}"
    names = sorted(random.sample(list(MARKETPLACES), pick(random, {1: 25, 2: 30, 3: 27, 4: 18})))
    cancelled = random.random() < 0.03
    postings = [posting(random, job_id, name, created_at, cancelled) for name in names]
    statuses = {row["status"] for row, _ in postings}
    finished = not cancelled and "posting" not in statuses

    if cancelled:
        status = "cancelled"
    elif not finished:
        status = "processing"
    elif statuses == {"live"}:
        status = "completed"
    elif statuses == {"failed"}:
        status = "failed"
    else:
        status = "partial_success"

    product_type = pick(random, {name: row[-1] for name, row in PRODUCT_TYPES.items()})
    name, _, mean, spread, _ = PRODUCT_TYPES[product_type]
    used = random.random() < 0.7
    price = max(random.gauss(mean, spread), mean / 4) * (0.6 if used else 0.95)
    row = {
        "job_id": job_id,
        "user_id": user_id,
        "session_id": session_id,
        "listing_spec": json.dumps(
            {
                "title": f"{random.choice(BRANDS)} {name}",
                "product_type": product_type,
                "condition": "used" if used else "new",
                "price": round(price, 2),
                "currency": "USD",
            }
        ),
        "status": status,
        "created_at": utc(created_at),
        "completed_at": utc(max(end for _, end in postings)) if finished else None,
        "error": "no marketplace took the listing" if status == "failed" else None,
    }
    return row, [row for row, _ in postings]


def posting(
    random: Random, job_id: str, marketplace: str, started_at: datetime, cancelled: bool
) -> tuple[Row, datetime]:
    """Return a job's posting on one marketplace, and when it ended or will end."""
    success_rate, errors = POSTING[marketplace]
    ended_at = later(started_at, random.lognormvariate(3.6, 0.8))
    succeeds = random.random() < success_rate
    error, listing_id = pick(random, errors), f"{random.randrange(10**9):09d}"

    if cancelled:
        status = "cancelled"
    elif ended_at > SNAPSHOT:
        status = "posting"
    else:
        status = "live" if succeeds else "failed"
    live = status == "live"
    row = {
        "job_id": job_id,
        "marketplace": marketplace,
        "status": status,
        "listing_id": listing_id if live else None,
        "confirmation_link": f"https://{marketplace}.example/itm/{listing_id}" if live else None,
        "posted_at": utc(ended_at) if live else None,
        "error": error if status == "failed" else None,
    }
    return row, ended_at


def exchange_rates() -> list[Row]:
    """Return each currency's value in USD on each business day, from the one before the first."""
    rows = []
    for number, (currency, rate) in enumerate(USD_PER_UNIT.items()):
        random = rng(CURRENCY, number)
        for day in range(-3, DAYS):
            published = FIRST_DAY + timedelta(days=day)
            if published.weekday() < 5:
                rows.append({"day": published, "currency": currency, "usd_per_unit": f"{rate:.4f}"})
                rate *= 1 if currency == "USD" else 1 + random.gauss(0, 0.003)
    return sorted(rows, key=lambda row: (row["day"], row["currency"]))


def marketplaces() -> list[Row]:
    """Return the marketplaces and what they take from a sale."""
    fields = ("display_name", "is_searched", "fee_rate", "fixed_fee_usd")
    return [
        {"marketplace": name, **dict(zip(fields, values, strict=True))}
        for name, values in MARKETPLACES.items()
    ]


def utc(moment: datetime) -> str:
    """Return ISO 8601 text of constant width, so that text sorts as time does."""
    return moment.isoformat(timespec="milliseconds") + "Z"


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """Write rows under a header of their keys."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def write_parquet(folder: Path, row_type: str, rows: Iterable[Row], order: str) -> None:
    """Write one Parquet file for each week: folder/week=2025-10-06/data_0.parquet."""
    shutil.rmtree(folder, ignore_errors=True)
    # As JSON: where pandas is missing, DuckDB 1.x looks for it at every value it binds.
    text = json.dumps(list(rows), default=str)
    with duckdb.connect(config={"threads": 1}) as con:  # one thread, one file for each week
        con.execute(
            f"CREATE TABLE made AS SELECT unnest($rows::JSON::{row_type}[], max_depth := 2)",
            {"rows": text},
        )
        con.execute(
            f"COPY (FROM made ORDER BY {order}) TO $folder"
            " (FORMAT parquet, COMPRESSION zstd, PARTITION_BY (week))",
            {"folder": str(folder)},
        )


def write_reference(path: Path) -> None:
    """Write the taxonomy as a DuckDB file that DuckDB 1.2 and later read."""
    path.unlink(missing_ok=True)
    numbers = {name: number for number, name in enumerate(CATEGORIES, start=1)}
    # The smallest block that DuckDB has: with its default of 256 KB the file is ten times as big.
    with duckdb.connect(
        str(path),
        config={"default_block_size": "16384", "storage_compatibility_version": "v1.2.0"},
    ) as con:
        con.execute("CREATE SCHEMA taxonomy")
        con.execute(
            "CREATE TABLE taxonomy.categories"
            " (category_id INTEGER PRIMARY KEY, parent_id INTEGER, name VARCHAR NOT NULL)"
        )
        con.execute(
            "CREATE TABLE taxonomy.product_types"
            " (product_type VARCHAR PRIMARY KEY, display_name VARCHAR NOT NULL,"
            " category_id INTEGER NOT NULL, typical_price_usd DECIMAL(10, 2) NOT NULL)"
        )
        con.executemany(
            "INSERT INTO taxonomy.categories VALUES (?, ?, ?)",
            [
                (numbers[name], numbers[parent] if parent else None, name)
                for name, parent in CATEGORIES.items()
            ],
        )
        con.executemany(
            "INSERT INTO taxonomy.product_types VALUES (?, ?, ?, ?)",
            [
                (product_type, name, numbers[category], mean)
                for product_type, (name, category, mean, *_) in PRODUCT_TYPES.items()
            ],
        )


def write_seller_app(path: Path) -> None:
    """Write the seller app's SQLite database."""
    path.unlink(missing_ok=True)
    con = sqlite3.connect(path)
    con.executescript(SELLER_APP)
    for row, postings in map(job, range(JOBS)):
        for table, rows in (("jobs", [row]), ("marketplace_jobs", postings)):
            names, marks = ", ".join(rows[0]), ", ".join(f":{name}" for name in rows[0])
            con.executemany(f"INSERT INTO {table} ({names}) VALUES ({marks})", rows)
    con.commit()
    con.close()


def main() -> None:
    """Write all files into one folder."""
    parser = argparse.ArgumentParser(description="Make the data of the example project.")
    parser.add_argument("--folder", type=Path, default=Path(__file__).parent / "data")
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)

    pairs = [session(number) for number in range(SESSIONS)]
    searches = [search for _, search in pairs if search]
    write_parquet(folder / "sessions", SESSION_TYPE, (row for row, _ in pairs), "created_at")
    write_parquet(folder / "searches", SEARCH_TYPE, searches, "searched_at")
    write_csv(folder / "marketplaces.csv", marketplaces())
    write_csv(folder / "exchange_rates.csv", exchange_rates())
    write_seller_app(folder / "seller_app.sqlite")
    write_reference(folder / "reference.duckdb")


if __name__ == "__main__":
    main()
