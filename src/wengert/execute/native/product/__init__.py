"""The matrix kernel generator: one function for a product of static shape, with what follows it fused in."""

from wengert.execute.native.product.drive import Epilogue as Epilogue
from wengert.execute.native.product.drive import emit_product as emit_product
from wengert.execute.native.product.drive import store_epilogue as store_epilogue
from wengert.execute.native.product.plan import has_column_sums as has_column_sums
from wengert.execute.native.product.plan import panel_width as panel_width
from wengert.execute.native.product.plan import scratch_bytes as scratch_bytes
from wengert.execute.native.product.plan import units as units
from wengert.execute.native.product.spec import ProductSpec as ProductSpec
