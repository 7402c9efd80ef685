"""Fill the demo's database: articles, and a superuser for the admin."""

from __future__ import annotations

import datetime as dt
import random
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandParser

from testproject.articles.models import Article

ARTICLES = 300
TOPICS = {
    "Gardens": ["roses", "a compost heap", "the greenhouse", "apple trees", "a dry summer", "moss"],
    "Kitchen": ["sourdough", "a cast-iron pan", "lentils", "the pantry", "good salt", "quince"],
    "Mountains": ["the north ridge", "an early start", "thin air", "wet boots", "the hut", "snow bridges"],
    "Rivers": ["the ferry", "a spring flood", "old bridges", "eels", "the delta", "locks and weirs"],
    "Workshops": ["hand planes", "a dull chisel", "oak", "the lathe", "glue", "sharp corners"],
}
OPENINGS = ["Notes on", "In praise of", "A year with", "What nobody says about", "Living with"]
SENTENCES = [
    "It takes longer than anybody tells you, and it is worth the time.",
    "The first attempt failed in an instructive way.",
    "There is an old rule about this, and like most old rules it is half right.",
    "A neighbour does the opposite and gets the same result.",
    "Begin with less than you think you need.",
    "By the end of the week the difference could be seen from the road.",
    "Nothing here asks for expensive tools, only for attention.",
    "The weather has an opinion too.",
    "Write down what you did, since you will not remember it next spring.",
    "Somebody always asks whether it could be done faster.",
    "The answer is yes, once, and then it has to be done again.",
    "What remains is the habit of looking twice.",
]


class Command(BaseCommand):
    help = "Creates the demo site's database: tables, articles and the superuser 'admin'."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--password", default="demo", help="the superuser's password (default: demo)")

    def handle(self, *args: Any, password: str, **options: Any) -> None:
        Path(settings.DATABASES["default"]["NAME"]).parent.mkdir(parents=True, exist_ok=True)
        call_command("migrate", verbosity=0)
        if not Article.objects.exists():
            Article.objects.bulk_create(articles())
        users = get_user_model().objects
        if not users.filter(username="admin").exists():
            users.create_superuser("admin", password=password)
        count = Article.objects.count()
        self.stdout.write(f"{count} articles; the admin's login is admin, password {password}")


def articles() -> list[Article]:
    """Make up the articles, the same ones each time."""
    chance = random.Random(7)  # noqa: S311  # prose, not secrets
    first_day = dt.date(2025, 1, 1)
    return [
        Article(
            title=f"{chance.choice(OPENINGS)} {chance.choice(TOPICS[topic])}",
            topic=topic,
            body="\n\n".join(" ".join(chance.sample(SENTENCES, 5)) for _ in range(4)),
            published=first_day + dt.timedelta(days=number),
        )
        for number in range(ARTICLES)
        for topic in [chance.choice(list(TOPICS))]
    ]
