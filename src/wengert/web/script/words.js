// Two languages. A word that is missing here (a user's own name, say) is shown as it is.
const WORDS = {zh: {
  "healthy": "健康", "vanishing": "梯度消失", "exploding": "梯度爆炸", "dead units": "死亡神经元", "saturation": "饱和",
  "large initialisation": "初始化过大", "small initialisation": "初始化过小", "missing shortcut": "缺少残差连接",
  "short memory": "记忆过短", "learning rate too high": "学习率过高", "learning rate too low": "学习率过低",
  "gradient noise": "梯度噪声", "non-finite": "出现非有限值", "disconnected": "未连接的参数", "frozen": "被冻结的参数",
  "shattered": "梯度破碎", "loss pairing": "损失函数搭配错误", "input scale": "输入尺度不当",
  "target scale": "目标尺度不当", "identical inputs": "输入全部相同",
  "regularisation too strong": "正则化过强", "regularisation": "正则化",
  "activation": "激活函数", "weight": "权重", "weights": "权重", "normalisation": "归一化", "shortcut": "残差连接",
  "attention": "注意力", "pooling": "池化", "loss": "损失", "embedding": "嵌入", "recurrence": "循环", "gate": "门控", "time": "时间传递", "dropout": "随机失活",
  "other": "其他", "depth": "深度", "learning rate": "学习率", "data": "数据", "initialisation": "初始化", "scale": "尺度",
  "Findings": "诊断结果", "Network": "网络", "Causes": "原因", "Paths and lags": "路径与时滞", "Training": "训练过程",
  "Repair": "修复", "Details": "详情", "before": "修复前", "after": "修复后", "Version": "版本",
  "Nothing is wrong": "没有发现问题", "Cause": "原因", "Where": "位置", "Evidence": "证据", "Remedies": "补救办法",
  "Show in the network": "在网络图中显示", "backward": "反向", "forward": "前向", "Direction": "方向", "gain": "增益",
  "size": "大小", "Colour": "着色", "picture": "图", "table": "表格", "View": "视图", "open": "展开", "close": "折叠",
  "Zoom in": "放大", "Zoom out": "缩小", "Fit": "适应窗口", "Open all": "全部展开", "Close all": "全部折叠",
  "light": "浅色", "dark": "深色", "Theme": "主题", "Language": "语言", "as the system": "跟随系统",
  "shrinks": "缩小", "grows": "放大", "unchanged": "不变", "kind": "类型", "module": "模块", "class": "类", "name": "名称",
  "operation": "运算", "shape": "形状", "type": "数据类型", "source line": "源代码行", "value": "数值", "gradient": "梯度",
  "local derivative": "局部导数", "gain backward": "反向增益", "gain forward": "前向增益", "decades": "数量级",
  "norm": "范数", "mean": "均值", "std": "标准差", "min": "最小", "max": "最大", "zero": "零的比例", "dead": "死亡比例",
  "saturated": "饱和比例", "time step": "时间步", "steps inside": "内部步骤数", "values": "数值分布", "gradients": "梯度分布",
  "By kind": "按类型", "By layer": "按层", "By time step": "按时间步", "Total": "合计", "layer": "层",
  "parameter": "参数", "input": "输入", "step": "步", "constant": "常量", "repeats": "重复",
  "Gradient by path length": "按路径长度分解的梯度", "Gradient by time lag": "按时滞分解的梯度",
  "weighted layers crossed": "经过的带权层数", "steps back in time": "向前回溯的时间步", "share": "占比",
  "loss over training": "训练中的损失", "gradient norm": "梯度范数", "update ratio": "更新与权重之比",
  "parameter range": "参数范围", "gradient noise scale": "梯度噪声尺度", "curvature along the step": "沿步长方向的曲率", "sequence": "序列",
  "function": "函数", "turn": "时间步", "Training step": "训练步", "Play": "播放", "Pause": "暂停", "latest": "最新",
  "helped": "有效", "did not help": "无效", "helped in short runs only": "仅在短程运行中有效", "Remedy tried": "尝试的办法", "Result": "结果", "Criterion": "判据",
  "Loss": "损失", "repaired": "已修复", "not repaired": "未修复", "accuracy": "准确率", "numbers as a table": "以表格显示数值",
  "not finite": "非有限", "waiting for the first record": "等待第一条记录", "live": "实时", "ended": "已结束",
  "connection lost": "连接已断开", "Click a box to see its numbers.": "点击一个方框以查看其数值。",
  "Select": "选择", "activation norm": "激活范数", "weight norm": "权重范数", "Measure": "度量", "epoch": "轮次",
  "gradients of parameters": "参数的梯度", "gradients of activations": "激活的梯度", "spread of parameters": "参数的离散程度",
  "spread of activations": "激活的离散程度", "dead units of activations": "激活的死亡比例", "all": "全部", "of": "/",
  "where the gradient goes": "梯度流向何处", "the network in training": "训练中的网络",
  "more rows are not shown: close some modules": "行未显示：请折叠一些模块", "from": "来自", "to": "去往",
  "the model as given": "原模型", "the mended model": "修复后的模型", "theory": "理论", "parameters": "参数",
  "modules": "模块", "operations": "运算", "layers": "层", "Skip to the network": "跳到网络图", "depth scale": "深度尺度",
  "whole way": "全程", "layers with weights": "带权层数", "gradient, whole way": "梯度，全程", "ordered": "有序相", "chaotic": "混沌相",
  "critical": "临界", "factor of the gradient's square, layer by layer": "每层梯度平方的倍数", "variance that the signal comes to": "信号方差的极限",
  "a signal gets through": "信号能否传到底", "yes": "能", "no": "不能", "In theory, before any training": "理论(训练之前)", "at the loss": "在损失处", "gradient at the input end": "输入端的梯度",
  "Jacobians from layer to layer": "逐层雅可比矩阵", "singular values": "奇异值", "No single line": "无单独的源代码行",
  "dead share of units": "死亡神经元的比例", "saturated share of values": "饱和数值的比例", "effective rank of activations": "激活的有效秩",
  "gradients' likeness to white noise": "梯度与白噪声的相似度", "dead and saturated, in the worst layer": "死亡与饱和(最差的一层)",
  "root mean square": "均方根", "Learned": "学到的部分", "bias": "偏置", "operator": "运算", "gates": "门控", "graph": "计算图",
  "needed, and not enough by itself": "必要，但单独不够", "learns too little": "学得太少", "trial": "短程试验",
  "test accuracy": "测试准确率", "squared error": "平方误差", "test error": "测试误差", "validation accuracy": "验证准确率",
  "decades by layer": "各层的数量级", "gain of weights (median)": "权重增益(中位数)", "signal that differs between examples": "随样本而变的信号",
  "rms of the output": "输出的均方根", "layers without gradient": "没有梯度的层", "smallest decades": "最小的数量级", "steps": "步数",
  "decades from the last steps to the first": "从最后一步到第一步的数量级", "gradient by step": "各步的梯度", "size of outputs by layer": "各层输出的大小",
  "loss at multiples of the step": "步长倍数处的损失", "dead share by layer": "各层的死亡比例", "loss by step": "各步的损失",
  "loss with": "有它时的损失", "loss without": "不用时的损失", "left out": "未更新", "attentions": "注意力层",
  "learning rate that works": "可行的学习率", "saturated share by layer": "各层的饱和比例", "mean size of inputs": "输入的平均大小", "dead share": "死亡比例",
  "layers of equal units": "神经元全同的层", "noise scale": "噪声尺度", "batch": "批次大小", "promised share of the loss": "预期降低的损失比例",
  "lowest loss possible": "可达到的最低损失", "gain by step": "每步的增益", "gain of weights by layer": "各层的权重增益", "examples": "样本数",
  "compared": "比较的形状", "mean over spread": "均值与散布之比", "widest over middle": "最宽与中位之比", "targets outside": "范围之外的目标",
  "least": "最小可能值", "of a constant": "常数输出的值", "fallen": "已降低的比例", "cosine of gradients of inputs that nearly agree": "相近输入的梯度的余弦", "at first": "开始时", "now": "现在",
}};
const LONG = {
  en: {
    keys: "Arrow keys go from box to box, Enter goes in, Space opens or closes, + and − zoom, 0 fits, Escape comes out again.",
    causes: "Decades (powers of ten) that each kind of step adds to the size of the signal on its way. Along every path " +
      "they add up to the whole, exactly.",
    backward: "The gradient, from the loss back to the input", forward: "The signal, from the input to the loss",
    shares: "Exact shares of the gradient; they add up to 100 %. A negative share works against the rest.",
    theory: "Mean-field theory of wide layers, from the weights as they stand, without data (Schoenholz et al. 2017).",
    parts: "Each row is a layer, each column a recorded step; colour is the share, from none (grey) to all.",
    spectrum: "For one example: how far each layer stretches (above 1) or shrinks what comes from the layer before, direction by direction. The dot is their root mean square.",
    learned: "of what a constant output costs, on examples kept back",
    ranges: "Each row is a parameter or layer, each column a recorded step; colour is the size, in decades against the middle of the picture.",
  },
  zh: {
    keys: "方向键在方框间移动，回车进入，空格展开或折叠，+ 和 − 缩放，0 适应窗口，Esc 退出。",
    causes: "每一类运算使信号大小改变的数量级(10 的幂)。沿任意一条路径相加，精确等于总变化。",
    backward: "梯度：从损失回到输入", forward: "信号：从输入到损失",
    shares: "梯度的精确占比，总和为 100 %。负的占比表示与其余部分方向相反。",
    theory: "宽层的平均场理论，只看当前权重，不用数据(Schoenholz et al. 2017)。",
    parts: "每行是一层，每列是一次记录；颜色表示比例，从无(灰)到全部。",
    spectrum: "对一个样本：每一层在各个方向上把前一层的输出拉伸(大于 1)或压缩(小于 1)多少。圆点是均方根。",
    learned: "(留出样本上，相对于常数输出的损失)",
    healthy: "没有发现问题：梯度以可训练的大小到达每一层。",
    ranges: "每行是一个参数或层，每列是一次记录；颜色表示大小(相对于全图中位数的数量级)。",
  },
};
const t = word => (WORDS[state.language] || {})[word] ?? word;
// a word at the head of a line
function head(text) {
  const said = String(t(text));
  return said.charAt(0).toUpperCase() + said.slice(1);
}
const long = key => LONG[state.language][key];

// an element whose text follows the language
function word(tag, text, attributes) {
  return el(tag, {"data-word": text, ...attributes}, t(text));
}
watch(["language"], () => {
  document.documentElement.lang = state.language === "zh" ? "zh-Hans" : "en";
  for (const e of document.querySelectorAll("[data-word]")) e.textContent = t(e.dataset.word);
});
