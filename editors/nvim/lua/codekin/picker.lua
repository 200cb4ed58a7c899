---Choosing among places in the picker that the user has: snacks, telescope, fzf-lua, or `vim.ui.select`.
local config = require("codekin.config")
local results = require("codekin.results")

local M = {}

---@alias codekin.Pick fun(title: string, hits: codekin.Hit[]): boolean false where the picker is not installed

---@type codekin.Pick
local function snacks(title, hits)
  local ok, snacks_nvim = pcall(require, "snacks")
  if not ok then
    return false
  end
  local items = vim.tbl_map(function(hit)
    return { text = results.label(hit), file = vim.uri_to_fname(hit.uri), pos = { hit.code_line, 0 }, hit = hit }
  end, hits)
  snacks_nvim.picker.pick({
    title = title,
    items = items,
    format = function(item)
      return { { item.text } }
    end,
    confirm = function(self, item)
      self:close()
      if item then
        results.open(item.hit)
      end
    end,
  })
  return true
end

---@type codekin.Pick
local function telescope(title, hits)
  local ok, pickers = pcall(require, "telescope.pickers")
  if not ok then
    return false
  end
  local values = require("telescope.config").values
  local function entry(hit)
    local path = vim.uri_to_fname(hit.uri)
    local label = results.label(hit)
    return { value = hit, display = label, ordinal = label, filename = path, lnum = hit.code_line, col = 1 }
  end
  pickers
    .new({}, {
      prompt_title = title,
      finder = require("telescope.finders").new_table({ results = hits, entry_maker = entry }),
      previewer = values.grep_previewer({}),
      sorter = values.generic_sorter({}),
    })
    :find()
  return true
end

---@type codekin.Pick
local function fzf(title, hits)
  local ok, fzf_lua = pcall(require, "fzf-lua")
  if not ok or vim.fn.executable("fzf") == 0 then
    return false
  end
  local lines = vim.tbl_map(function(hit)
    return ("%s:%d:1:%s"):format(vim.uri_to_fname(hit.uri), hit.code_line, results.label(hit))
  end, hits)
  fzf_lua.fzf_exec(lines, {
    prompt = title .. "> ",
    previewer = "builtin",
    fzf_opts = { ["--delimiter"] = ":", ["--with-nth"] = "4.." }, -- the label alone, which says where
    actions = { default = require("fzf-lua.actions").file_edit_or_qf },
  })
  return true
end

---@type codekin.Pick
local function select(title, hits)
  vim.ui.select(hits, { prompt = title, kind = "codekin", format_item = results.label }, function(hit)
    if hit then
      results.open(hit)
    end
  end)
  return true
end

---@type table<string, codekin.Pick>
local pickers = { snacks = snacks, telescope = telescope, ["fzf-lua"] = fzf, select = select }

---Lets the user choose a place, which is then opened.
---@param title string
---@param hits codekin.Hit[]
function M.pick(title, hits)
  local chosen = pickers[config.values.picker]
  for _, pick in ipairs(chosen and { chosen, select } or { snacks, telescope, fzf, select }) do
    if pick(title, hits) then
      return
    end
  end
end

return M
