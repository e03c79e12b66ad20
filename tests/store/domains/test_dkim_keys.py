"""Private DKIM keys: sealed in etcd, opened by whom has the key, sealed again after a change."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_private_key,
)

from babygun.errors import NoSealingKey, NotFound
from babygun.pki.sealing import CannotOpen, new_key
from babygun.runtime.settings import Settings
from babygun.store import Store
from babygun.store.domains.change import create_domain
from babygun.store.domains.dkim_keys import read_private_key, reseal
from babygun.store.keys import range_end
from tests.store.domains.steps import NAME, client_of, new_domain, sealing


async def test_private_key_is_read_and_is_the_one_of_the_public_key(store: Store) -> None:
    domain = await create_domain(store, NAME, [await client_of(store, "shop")])
    (selector,) = domain.selectors
    private = load_der_private_key(await read_private_key(store, NAME, selector.name), None)
    assert isinstance(private, rsa.RSAPrivateKey) and private.key_size == 2048
    public = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert base64.b64decode(selector.public) == public
    with pytest.raises(NotFound):
        await read_private_key(store, NAME, "other")


async def test_etcd_has_no_private_key_in_clear_in_no_form(store: Store) -> None:
    domain = await new_domain(store, await client_of(store, "shop"))
    private = await read_private_key(store, NAME, domain.selectors[0].name)
    seed = private[-32:]  # of an Ed25519 key in PKCS #8, all that is secret
    found = await store.client.range(store.keys.prefix, range_end(store.keys.prefix))
    everything = b"\n".join(kv.value for kv in found.kvs)
    for form in (seed, seed.hex().encode(), base64.b64encode(seed)[:-2], b"PRIVATE KEY"):
        assert form not in everything


async def test_sealed_key_in_another_selectors_place_does_not_open(store: Store) -> None:
    client = await client_of(store, "shop")
    one = await new_domain(store, client, "a.example")
    place = (await new_domain(store, client, "b.example")).selectors[0].name
    found = await store.client.get(store.keys.dkim_key("a.example", one.selectors[0].name))
    assert found
    await store.client.put(store.keys.dkim_key("b.example", place), found.value)
    with pytest.raises(CannotOpen, match=f"the DKIM key {place} of b.example can't be opened"):
        await read_private_key(store, "b.example", place)


async def test_keys_are_sealed_again_and_the_old_key_is_needed_no_more(
    settings: Settings,
) -> None:
    first, second = new_key(), new_key()
    async with Store(sealing(settings, first)) as before:
        client = await client_of(before, "shop")
        domains = [await new_domain(before, client, f"{name}.example") for name in "abc"]
        private = await read_private_key(before, "a.example", domains[0].selectors[0].name)
    async with Store(sealing(settings, second, first)) as both:
        assert await reseal(both) == (3, 3, ())
        assert await reseal(both) == (3, 0, ()), "once is enough"
    async with Store(sealing(settings, second)) as after:
        assert await read_private_key(after, "a.example", domains[0].selectors[0].name) == private
        assert await reseal(after) == (3, 0, ())


async def test_key_whose_sealing_key_is_lost_is_named_and_holds_up_no_other(
    settings: Settings,
) -> None:
    first, second, third = new_key(), new_key(), new_key()
    async with Store(sealing(settings, first)) as store:
        client = await client_of(store, "shop")
        lost = (await new_domain(store, client, "a.example")).selectors[0].name
    async with Store(sealing(settings, second)) as store:
        await new_domain(store, client, "b.example")
        await store.client.put(store.keys.dkim_keys + b"c.example", b"by hand")
    async with Store(sealing(settings, third, second)) as store:
        assert await reseal(store) == (3, 1, (f"a.example/{lost}", "c.example"))
        with pytest.raises(CannotOpen, match="add it to secrets_key_file or secrets_keys"):
            await read_private_key(store, "a.example", lost)
    async with Store(settings) as store:
        with pytest.raises(NoSealingKey):
            await reseal(store)
