"""What can be called, through whom, at which price. Names are what the catalog file uses."""

from django.contrib.postgres.fields import ArrayField
from django.core.validators import MinValueValidator, RegexValidator
from django.db import models
from django.db.models.functions import Now


class Protocol(models.TextChoices):
    """The wire format that an upstream speaks."""

    OPENAI_CHAT = "openai_chat", "OpenAI chat completions"
    ANTHROPIC_MESSAGES = "anthropic_messages", "Anthropic Messages"
    SANDBOX = "sandbox", "Sandbox"


class Upstream(models.Model):
    """One configured endpoint of a provider, with its credential (encrypted; its row id is bound to the ciphertext)."""

    name = models.SlugField(max_length=60, unique=True)
    #: Picks the adapter and its profile; public as a provider slug.
    provider = models.SlugField(max_length=40)
    protocol = models.CharField(max_length=20, choices=Protocol)
    #: Not a URLField: that refuses the plain host names of private networks. gateway.services.upstream_urls has the rules.
    base_url = models.CharField(max_length=300, blank=True)
    #: lumyx.lib.crypto.seal(purpose="upstream-credential", row=name); empty: no credential is sent.
    credential = models.BinaryField(blank=True, default=b"", editable=False)
    allow_private_network = models.BooleanField(default=False)
    is_enabled = models.BooleanField(default=True)
    #: Seconds.
    connect_timeout = models.FloatField(default=5.0)
    first_byte_timeout = models.FloatField(default=120.0)
    idle_timeout = models.FloatField(default=60.0)
    total_timeout = models.FloatField(default=600.0)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class ModelKind(models.TextChoices):
    """What a model does."""

    CHAT = "chat"
    EMBEDDING = "embedding"


model_id_is_valid = RegexValidator(
    r"\A[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,199}\Z",
    "A model id has letters, digits and . _ : / @ + -, begins with a letter or digit, and has at most 200 characters.",
)


class CatalogModel(models.Model):
    """A model as clients see it."""

    public_id = models.CharField(max_length=200, unique=True, validators=[model_id_is_valid])
    display_name = models.CharField(max_length=120)
    description = models.TextField(blank=True)
    kind = models.CharField(max_length=10, choices=ModelKind, default=ModelKind.CHAT)
    #: Tokens.
    context_window = models.PositiveIntegerField()
    #: Tokens; NULL for models that generate none (embeddings).
    max_output_tokens = models.PositiveIntegerField(null=True, blank=True)
    tags = ArrayField(models.CharField(max_length=40), default=list, blank=True)
    supports_streaming = models.BooleanField(default=True)
    #: A free model has price 0 and counts against the daily quota.
    is_free = models.BooleanField(default=False)
    is_enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ("public_id",)

    def __str__(self) -> str:
        return self.public_id


class Price(models.Model):
    """A version of a model's price, in nano-USD per million tokens of each class. Never edited: a change is a new row."""

    model = models.ForeignKey(CatalogModel, on_delete=models.CASCADE, related_name="prices")
    version = models.PositiveIntegerField()
    input = models.BigIntegerField()
    output = models.BigIntegerField(default=0)
    cache_read = models.BigIntegerField(null=True, blank=True)
    cache_write = models.BigIntegerField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["model", "version"], name="price_version_unique"),
            models.CheckConstraint(
                condition=models.Q(input__gte=0, output__gte=0)
                & (models.Q(cache_read__isnull=True) | models.Q(cache_read__gte=0))
                & (models.Q(cache_write__isnull=True) | models.Q(cache_write__gte=0)),
                name="price_not_negative",
            ),
        )
        ordering = ("model", "-version")

    def __str__(self) -> str:
        return f"version {self.version}"


class Route(models.Model):
    """A way from a model to an upstream."""

    model = models.ForeignKey(CatalogModel, on_delete=models.CASCADE, related_name="routes")
    upstream = models.ForeignKey(Upstream, on_delete=models.PROTECT, related_name="routes")
    #: The upstream's own name of the model; never shown to clients.
    upstream_model = models.CharField(max_length=200)
    #: Lower goes first; among equals, chosen by weight.
    priority = models.PositiveSmallIntegerField(default=1)
    weight = models.PositiveIntegerField(default=100, validators=[MinValueValidator(1)])
    is_enabled = models.BooleanField(default=True)

    class Meta:
        constraints = (models.UniqueConstraint(fields=["model", "upstream", "upstream_model"], name="route_unique"),)
        ordering = ("model", "priority", "-weight", "id")

    def __str__(self) -> str:
        return self.upstream_model


class RouteCost(models.Model):
    """A version of what an upstream charges us on a route, in nano-USD per million tokens. Never edited, like a price.

    A class without its own cost costs what input costs.
    """

    route = models.ForeignKey(Route, on_delete=models.CASCADE, related_name="costs")
    version = models.PositiveIntegerField()
    input = models.BigIntegerField()
    output = models.BigIntegerField(default=0)
    cache_read = models.BigIntegerField(null=True, blank=True)
    cache_write = models.BigIntegerField(null=True, blank=True)
    #: Requests that are settled from then on cost this, until the next version.
    effective_from = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["route", "version"], name="route_cost_version_unique"),
            models.CheckConstraint(
                condition=models.Q(input__gte=0, output__gte=0)
                & (models.Q(cache_read__isnull=True) | models.Q(cache_read__gte=0))
                & (models.Q(cache_write__isnull=True) | models.Q(cache_write__gte=0)),
                name="route_cost_not_negative",
            ),
        )
        ordering = ("route", "-version")

    def __str__(self) -> str:
        return f"version {self.version}"
