"""Pictures, tables and the HTML page of finished runs."""

from sfsim.report.delays import PARTS, Delay, timelines, where_time_went
from sfsim.report.page import report, save_figures

__all__ = ["PARTS", "Delay", "report", "save_figures", "timelines", "where_time_went"]
