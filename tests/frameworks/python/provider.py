"""nostr-dvm (PyPI) as it is, as a provider of kind 5050 on one relay: provider.py ws://relay SECRET-KEY."""

import os
import sys
import tempfile

url, secret = sys.argv[1:]
os.chdir(tempfile.mkdtemp())  # it keeps a database where it runs
os.makedirs("db")

from nostr_dvm.framework import DVMFramework
from nostr_dvm.tasks.generic_dvm import GenericDVM
from nostr_dvm.utils.admin_utils import AdminConfig
from nostr_dvm.utils.dvmconfig import DVMConfig
from nostr_dvm.utils.nip89_utils import NIP89Config
from nostr_sdk import Kind

config = DVMConfig()
config.PRIVATE_KEY, config.IDENTIFIER, config.KIND = secret, "capitals", Kind(5050)
config.RELAY_LIST = config.SYNC_DB_RELAY_LIST = config.ANNOUNCE_RELAY_LIST = [url]
config.FIX_COST = 0
announcement = NIP89Config()
announcement.DTAG, announcement.CONTENT = "capitals", '{"name": "Capitals"}'
provider = GenericDVM("Capitals", config, announcement, admin_config=AdminConfig(), options={})


async def process(request_form):
    return provider.set_options(request_form)["input"].upper()


provider.process = process
framework = DVMFramework()
framework.add(provider)
framework.run()
